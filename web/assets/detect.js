// Types by first bytes, as the server tells them: a name may lie, and does not count.
//
// The server decides again over the whole content. What is told here is what the page offers.

const HEAD_BYTES = 65_536;
const TAIL_BYTES = 2048;

// What people drop often and the server has no conversion for: named, so that the message helps.
const OTHERS = [
  ["GIF8", "GIF image"],
  ["PK\x03\x04", "ZIP archive or office document"],
  ["BM", "BMP image"],
  ["II*\0", "TIFF image"],
  ["MM\0*", "TIFF image"],
  ["\x1f\x8b", "gzip archive"],
  ["Rar!", "RAR archive"],
  ["7z\xbc\xaf", "7-Zip archive"],
  ["OggS", "Ogg media"],
  ["ID3", "MP3 audio"],
  ["\x7fELF", "Linux program"],
  ["\xd0\xcf\x11\xe0", "old office document"],
  ["\0\0\x01\0", "icon"],
];

/** Looks at a file: `{ media, label, width, height, alpha }`, `media` null where it is unknown. */
export async function detect(file) {
  const head = await part(file, 0, HEAD_BYTES);
  const text = latin1(head.subarray(0, 1100));
  const picture = jpeg(head) ?? png(head, text) ?? webp(head, text);
  if (picture) return picture;
  if (text.startsWith("%PDF-")) return { media: "application/pdf" };
  if (/^[^]{0,1024}%PDF-\d/.test(text) && (await endsAsPdf(file))) return { media: "application/pdf" };
  const box = text.slice(4, 8) === "ftyp" && text.slice(8, 12);
  if (box) return { media: null, label: /hei|mif/.test(box) ? "HEIC image" : box === "avif" ? "AVIF image" : "MP4 media" };
  const looksText = isText(head, file.size > head.length);
  const other = OTHERS.find(([magic]) => text.startsWith(magic));
  if (other && !looksText) return { media: null, label: other[1] };
  return looksText ? { media: "text/plain" } : { media: null, label: "unknown type" };
}

async function part(file, from, to) {
  return new Uint8Array(await file.slice(from, to).arrayBuffer());
}

function latin1(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

async function endsAsPdf(file) {
  const tail = latin1(await part(file, Math.max(0, file.size - TAIL_BYTES), file.size));
  return tail.includes("startxref");
}

function png(head, text) {
  if (!text.startsWith("\x89PNG\r\n\x1a\n\0\0\0\rIHDR")) return null;
  const view = new DataView(head.buffer);
  if (head.length < 26) return { media: "image/png" };
  return { media: "image/png", width: view.getUint32(16), height: view.getUint32(20), alpha: head[25] >= 4 || head[25] === 3 };
}

function webp(head, text) {
  const kind = text.slice(12, 16);
  if (!text.startsWith("RIFF") || text.slice(8, 12) !== "WEBP" || !/^VP8[ LX]/.test(kind)) return null;
  const found = { media: "image/webp" };
  if (head.length < 30) return found;
  const view = new DataView(head.buffer);
  const size24 = (at) => 1 + (view.getUint16(at, true) | (head[at + 2] << 16));
  if (kind === "VP8X") return { ...found, width: size24(24), height: size24(27), alpha: (head[20] & 0x10) !== 0 };
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { ...found, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, alpha: (bits >>> 28 & 1) === 1 };
  }
  return { ...found, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

/** Markers are walked up to the frame header, which has the size. */
function jpeg(head) {
  if (head[0] !== 0xff || head[1] !== 0xd8 || head[2] !== 0xff || (head.length > 3 && head[3] < 0xc0)) return null;
  const found = { media: "image/jpeg" };
  const view = new DataView(head.buffer);
  let at = 2;
  while (at + 9 < head.length && head[at] === 0xff) {
    const marker = head[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { ...found, height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return found;
}

/** UTF-8 or UTF-16 by its mark, or Latin-1: few control characters, no NULs but padding. */
function isText(head, isCut) {
  if (head.length === 0) return true;
  const mark = (head[0] << 8) | head[1];
  if (mark === 0xfffe || mark === 0xfeff) return !(head[2] === 0 && head[3] === 0);
  let end = head.length;
  while (!isCut && end > 0 && head[end - 1] === 0) end -= 1;
  if (end === 0) return false;
  const body = head.subarray(0, end);
  const odd = body.reduce((sum, byte) => sum + isOddControl(byte), 0);
  if (odd * 100 > body.length || body.includes(0)) return false;
  try {
    // A cut may go through a character; streaming forgives that.
    new TextDecoder("utf-8", { fatal: true }).decode(body, { stream: true });
    return true;
  } catch {
    const printable = body.reduce((sum, b) => sum + ((b >= 0x20 && b <= 0x7e) || b === 9 || b === 10 || b === 13), 0);
    const high = body.reduce((sum, b) => sum + (b >= 0x80 && b <= 0x9f), 0);
    return printable * 2 >= body.length && high * 16 <= body.length;
  }
}

function isOddControl(byte) {
  const used = byte === 0 || (byte >= 8 && byte <= 13) || byte === 0x1a || byte === 0x1b;
  return (byte < 0x20 && !used) || byte === 0x7f;
}
