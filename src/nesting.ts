/** A look at JSON before it is parsed. */

const [quote, backslash, open, close, openList, closeList] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Whether JSON nests deeper than `limit`. `[[[[...` costs the parser 30 bytes of memory for every byte of text: a line of
 * 64 MiB would end the process.
 */
export function nestsDeeperThan(limit: number, json: Uint8Array | string): boolean {
  const code = typeof json === 'string' ? (i: number) => json.charCodeAt(i) : (i: number) => json[i];
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i++) {
    const c = code(i);
    if (quoted) {
      if (c === backslash) i++;
      else if (c === quote) quoted = false;
    } else if (c === quote) quoted = true;
    else if (c === open || c === openList) {
      if (++depth > limit) return true;
    } else if (c === close || c === closeList) depth--;
  }
  return false;
}

/** The same for a text of any length: short ones can do no harm and are not looked at. */
export function nestsTooDeep(json: string): boolean {
  return json.length > 1 << 16 && nestsDeeperThan(100, json);
}
