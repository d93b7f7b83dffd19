// A ZIP whose entries are stored, not compressed: results are compressed already.
//
// The archive is a blob of blobs. Bytes pass through memory once, a chunk at a time, for the CRC.
// Format: APPNOTE.TXT 6.3.10. Without ZIP64, sizes and offsets are 32 bits and entries 16.

const BYTES_MAX = 0xffff_ffff;
const ENTRIES_MAX = 0xffff;
const UTF8_NAME = 0x0800;

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? (c >>> 1) ^ 0xedb8_8320 : c >>> 1;
  return c >>> 0;
});

/** CRC-32 of a blob. */
export async function crc32(blob) {
  let crc = 0xffff_ffff;
  const reader = blob.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ 0xffff_ffff) >>> 0;
    for (let i = 0; i < value.length; i += 1) crc = TABLE[(crc ^ value[i]) & 0xff] ^ (crc >>> 8);
  }
}

/** Packs `[{ name, blob }]`; throws a RangeError where the format's limits are passed. */
export async function zip(files, now = new Date()) {
  const names = uniqueNames(files.map((file) => file.name)).map((name) => new TextEncoder().encode(name));
  const total = files.reduce((sum, file, i) => sum + file.blob.size + 76 + 2 * names[i].length, 22);
  if (total > BYTES_MAX) throw new RangeError("the files together are over 4 GB, which a ZIP without extensions cannot hold");
  if (files.length > ENTRIES_MAX) throw new RangeError(`${files.length} files are more than the ${ENTRIES_MAX} of a ZIP`);
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [i, { blob }] of files.entries()) {
    const facts = { crc: await crc32(blob), size: blob.size, name: names[i], now, offset };
    const head = header(0x0403_4b50, 30, facts, (view) => fields(view, 4, facts));
    const entry = header(0x0201_4b50, 46, facts, (view) => {
      view.setUint16(4, 20, true);
      fields(view, 6, facts);
      view.setUint32(42, offset, true);
    });
    parts.push(head, blob);
    directory.push(entry);
    offset += head.length + blob.size;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  return new Blob([...parts, ...directory, ending(files.length, size, offset)], { type: "application/zip" });
}

function header(signature, length, { name }, write) {
  const bytes = new Uint8Array(length + name.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, signature, true);
  write(view);
  bytes.set(name, length);
  return bytes;
}

/** What a local header and an entry of the directory have in common. */
function fields(view, at, { crc, size, name, now }) {
  view.setUint16(at, 20, true);
  view.setUint16(at + 2, UTF8_NAME, true);
  view.setUint16(at + 6, (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1), true);
  view.setUint16(at + 8, (Math.max(0, now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate(), true);
  view.setUint32(at + 10, crc, true);
  view.setUint32(at + 14, size, true);
  view.setUint32(at + 18, size, true);
  view.setUint16(at + 22, name.length, true);
}

function ending(count, size, offset) {
  const view = new DataView(new ArrayBuffer(22));
  view.setUint32(0, 0x0605_4b50, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, size, true);
  view.setUint32(16, offset, true);
  return new Uint8Array(view.buffer);
}

/** Two files of one name become `a.png` and `a (2).png`; nothing in a name leads out of a folder. */
export function uniqueNames(names) {
  const taken = new Set();
  return names.map((raw) => {
    const name = raw.replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_").replace(/^\.+$/, "_") || "_";
    const dot = name.lastIndexOf(".");
    const [stem, tail] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
    let unique = name;
    for (let n = 2; taken.has(unique.toLowerCase()); n += 1) unique = `${stem} (${n})${tail}`;
    taken.add(unique.toLowerCase());
    return unique;
  });
}
