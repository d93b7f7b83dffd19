// sharp as a process, by the protocol of examples/convert_loop.rs: `node reference.js FOLDER`, where FOLDER has its node_modules.
//
// It does what its documentation shows, with the qualities of the others and on one thread.

const fs = require("node:fs");
const readline = require("node:readline");
const { createRequire } = require("node:module");

const sharp = createRequire(`${process.argv[2]}/`)("sharp");
sharp.cache(false);
sharp.concurrency(1);

const encoders = {
  jpg: (picture) => picture.flatten({ background: "white" }).jpeg({ quality: 75 }),
  png: (picture) => picture.png(),
  webp: (picture) => picture.webp({ quality: 80 }),
};

function statusKib(key) {
  const line = fs.readFileSync("/proc/self/status", "utf8").split("\n").find((line) => line.startsWith(key));
  return line ? Number(line.split(/\s+/)[1]) : 0;
}

async function answer(line) {
  const [target, path, result] = line.split("\t");
  const data = fs.readFileSync(path);
  fs.writeFileSync("/proc/self/clear_refs", "5");
  const resident = statusKib("VmRSS:");
  const start = process.cpuUsage();
  let out = null;
  let failure = null;
  try {
    out = await encoders[target](sharp(data, { limitInputPixels: false }).rotate()).toBuffer();
  } catch (error) {
    failure = String(error.message).replace(/\s+/g, " ").slice(0, 200);
  }
  const spent = process.cpuUsage(start);
  const ns = (spent.user + spent.system) * 1000;
  const peak = Math.max(0, statusKib("VmHWM:") - resident);
  if (failure !== null) {
    return `error\tError\t${ns}\t${peak}\t${failure}`;
  }
  if (result !== "-") {
    fs.writeFileSync(result, out);
  }
  return `ok\t${out.length}\t${ns}\t${peak}`;
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${await answer(line)}\n`);
  }
}

main();
