/** Numbers as people read them. */
import type { Figure } from '../../reports/types.js';

export const none = '–';

const wrap = (show: (x: number) => string) => (x: Figure | undefined) =>
  x === null || x === undefined || !Number.isFinite(x) ? none : show(x);

export const count = wrap((x) => Math.round(x).toLocaleString('en'));
export const percent = wrap((x) => x.toFixed(2));
export const share = wrap((x) => `${(100 * x).toFixed(x < 0.1 ? 2 : 1)} %`);

/** On axes: no more digits than say something. */
export const plainTick = wrap((x) => String(Number(x.toPrecision(3))));
export const shareTick = wrap((x) => `${Number((100 * x).toPrecision(3))} %`);
/** Steps of axes in bytes. */
export const byteSteps = Array.from({ length: 45 }, (_, i) => 2 ** i);

/** 1,234,567 as 1.23 M. */
export const short = wrap((x) => {
  const size = Math.abs(x);
  for (const [limit, unit] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e4, 'k'],
  ] as const) {
    if (size >= limit) return `${Number((x / (unit === 'k' ? 1e3 : limit)).toPrecision(3))} ${unit}`;
  }
  if (size !== 0 && size < 1e-3) return x.toExponential(1).replace('e-', 'e−');
  return String(Number(x.toPrecision(3)));
});

export const bytes = wrap((x) => {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (x >= size) return `${x / size >= 100 ? (x / size).toFixed(0) : (x / size).toFixed(1)} ${unit}`;
  }
  return `${x} B`;
});

export const duration = wrap((seconds) => {
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(Math.round(seconds % 60) % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`;
});
