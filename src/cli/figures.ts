/** P@k and PSP@k side by side, in columns of one width. */

/** `P@1 ... PSP@5`. */
export const figureTitles = (ks: readonly number[]): string =>
  ['P', 'PSP'].flatMap((name) => ks.map((k) => `${name}@${k}`.padStart(8))).join('');

/** Figures in per cent, in the order of the titles. */
export const figureColumns = (percents: readonly number[]): string =>
  percents.map((percent) => percent.toFixed(2).padStart(8)).join('');
