// A fixed fan-in layer and a batch for it, made up.

let word = 0x9e3779b9;
/** Uniform in [0, 1): xorshift32. */
function random() {
  word ^= word << 13;
  word ^= word >>> 17;
  word ^= word << 5;
  return (word >>> 0) / 2 ** 32;
}

const floats = (/** @type {number} */ n, /** @type {number} */ scale) =>
  Float32Array.from({ length: n }, () => (2 * random() - 1) * scale);

/**
 * Distinct columns per label, and a batch with four positives per row.
 * @param {{ labels: number, fanIn: number, inputs: number, batch: number }} shape
 */
export function problem({ labels, fanIn, inputs, batch }) {
  const columns = new Uint16Array(labels * fanIn);
  const seen = new Int32Array(inputs).fill(-1);
  for (let slot = 0; slot < columns.length; slot++) {
    const label = Math.floor(slot / fanIn);
    let column = Math.floor(random() * inputs);
    while (seen[column] === label) column = Math.floor(random() * inputs);
    seen[column] = label;
    columns[slot] = column;
  }
  const pairs = Array.from(
    { length: 4 * batch },
    (_, i) => Math.floor(random() * labels) * batch + (i % batch),
  );
  const sorted = [...new Set(pairs)].sort((a, b) => a - b);
  return {
    labels,
    columns,
    weights: floats(labels * fanIn, 1 / Math.sqrt(fanIn)),
    bias: new Float32Array(labels).fill(-3),
    h: floats(batch * inputs, 1),
    positives: {
      count: sorted.length,
      label: Uint32Array.from(sorted, (x) => Math.floor(x / batch)),
      row: Uint32Array.from(sorted, (x) => x % batch),
    },
  };
}
