/** What every torture prints: one line per claim, with its figures, and a verdict by exit code. */

let broken = 0;

/** @param {string} claim @param {boolean} holds @param {string} figures */
export function check(claim, holds, figures) {
  if (!holds) {
    broken++;
    process.exitCode = 1;
  }
  console.log(`${holds ? 'holds ' : 'BROKEN'}  ${claim}: ${figures}`);
  return holds;
}

/** A line that is no claim. */
export function tell(/** @type {string} */ line) {
  console.log(`        ${line}`);
}

/** The last line. */
export function verdict(/** @type {string} */ name) {
  console.log(broken === 0 ? `${name}: everything held` : `${name}: ${broken} claims are BROKEN`);
}

export const MiB = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Uniform in [0, 1), the same for the same seed: mulberry32. */
export function generator(/** @type {number} */ seed) {
  let word = seed >>> 0;
  return () => {
    word = (word + 0x6d2b79f5) >>> 0;
    let t = word;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The names asked for with `--only a,b`, or all; an unknown one ends the program. */
export function chosen(/** @type {string | undefined} */ only, /** @type {readonly string[]} */ names) {
  const wanted = only === undefined ? [...names] : only.split(',');
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length === 0) return wanted;
  console.error(`there is no ${unknown.join(', ')}; there are: ${names.join(', ')}`);
  process.exit(2);
}
