export const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

/** Mean and half the range over seeds. */
export function spread(values, digits = 2) {
  const half = (Math.max(...values) - Math.min(...values)) / 2;
  return values.length === 1
    ? values[0].toFixed(digits)
    : `${mean(values).toFixed(digits)} ±${half.toFixed(digits)}`;
}
