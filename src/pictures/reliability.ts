/** Reliability diagrams: how often predictions of some probability are right, beside how often they should be. */
import { boxAt, lineAt, page, textAt } from './svg.js';

export interface ReliabilityPanel {
  readonly title: string;
  readonly bins: readonly {
    readonly from: number;
    readonly to: number;
    readonly count: number;
    readonly confidence: number;
    readonly accuracy: number;
  }[];
}

const SIDE = 240;

/**
 * Panels side by side: bars are shares that were right, the line is where they should end; below, how many
 * predictions each bin holds.
 * @example reliabilitySvg({ title: 'Validation', panels: [{ title: 'before', bins }, { title: 'after', bins: others }] })
 */
export function reliabilitySvg({
  title,
  panels,
}: {
  readonly title: string;
  readonly panels: readonly ReliabilityPanel[];
}): string {
  const [left, top, gap, strip] = [48, 56, 56, 48];
  const parts = panels.flatMap((panel, p) => {
    const x = left + p * (SIDE + gap);
    const foot = top + SIDE;
    const most = Math.max(1, ...panel.bins.map(({ count }) => count));
    const bars = panel.bins.flatMap(({ from, to, count, accuracy, confidence }) => {
      if (count === 0) return [];
      const [at, wide] = [x + SIDE * from, Math.max(1, SIDE * (to - from) - 1)];
      const tall = (strip * Math.log1p(count)) / Math.log1p(most);
      return [
        boxAt(at, foot - SIDE * accuracy, wide, SIDE * accuracy),
        boxAt(at, foot - SIDE * confidence - 1, wide, 2, 'fill="#d55e00"'),
        boxAt(at, foot + 30 + strip - tall, wide, tall, 'fill="#8888"'),
      ];
    });
    return [
      textAt(x + SIDE / 2, top - 8, panel.title, { anchor: 'middle' }),
      lineAt(x, foot, x + SIDE, foot),
      lineAt(x, top, x, foot),
      lineAt(x, foot, x + SIDE, top),
      ...bars,
      textAt(x, foot + 16, '0'),
      textAt(x + SIDE / 2, foot + 16, 'probability', { anchor: 'middle' }),
      textAt(x + SIDE, foot + 16, '1', { anchor: 'end' }),
      textAt(x - 6, foot, '0', { anchor: 'end' }),
      textAt(x - 6, top + 10, '1', { anchor: 'end' }),
      textAt(
        x,
        foot + 46 + strip,
        `${panel.bins.reduce((n, { count }) => n + count, 0)} predictions by bin, logarithmic`,
      ),
    ];
  });
  const legend = textAt(
    left,
    top + SIDE + strip + 70,
    'blue: share that was right; orange: probability that was said',
  );
  const width = left + panels.length * (SIDE + gap);
  return page(title, width, top + SIDE + strip + 90, [...parts, legend]);
}
