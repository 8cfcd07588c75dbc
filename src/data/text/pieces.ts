/**
 * Texts are cut into pieces before they are folded and segmented. Two reasons: the cost of `Intl.Segmenter` per
 * segment grows with the length of its string, and one rare character must not cost the fast path its whole text.
 *
 * A cut is made where neither normalisation nor segmentation looks across: before a blank or a line end that
 * follows something else, or after an ideographic full stop or comma before another CJK or ASCII character. Only a
 * run of `HARD` bytes without such a place is cut anywhere between two code points.
 */
const SOFT = 192;
const HARD = 768;

const [LF, SPACE] = [0x0a, 0x20];

/** Where the piece of UTF-8 `bytes` that begins at `begin` ends; at most `end`. */
export function pieceEnd(bytes: Uint8Array, begin: number, end: number): number {
  if (end - begin <= SOFT) return end;
  const hard = Math.min(end, begin + HARD);
  for (let at = begin + SOFT; at < hard; at++) {
    const byte = bytes[at];
    if ((byte === SPACE || byte === LF) && bytes[at - 1] > SPACE) return at;
    if (byte === 0xe3 && isIdeographicStop(bytes, at) && at + 3 < end && beginsAnew(bytes, at + 3))
      return at + 3;
  }
  if (hard === end) return end;
  let cut = hard;
  while (cut > begin + SOFT && (bytes[cut] & 0xc0) === 0x80) cut--;
  return cut;
}

/** U+3001 and U+3002 are e3 80 81 and e3 80 82. */
function isIdeographicStop(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 1] === 0x80 && (bytes[at + 2] === 0x81 || bytes[at + 2] === 0x82);
}

/** Whether a letter of ASCII, kana or an ideograph stands here: nothing that joins what is before it. */
function beginsAnew(bytes: Uint8Array, at: number): boolean {
  const lead = bytes[at];
  if (lead < 0x80) return lead > SPACE;
  // Kana from U+3040 on, but no sound marks: U+3099 to U+309C are e3 82 99 to e3 82 9c.
  if (lead === 0xe3) {
    const second = bytes[at + 1];
    if (second === 0x82) return bytes[at + 2] < 0x99 || bytes[at + 2] > 0x9c;
    return second === 0x81 || second === 0x83;
  }
  return lead >= 0xe4 && lead <= 0xe9;
}
