/** Amounts as bars from 0 with their numbers: seconds, bytes, whatever the caller writes beside them. */
import { seriesColours } from './intervals.js';
import { boxAt, page, textAt } from './svg.js';

export interface Amount {
  readonly name: string;
  /** 0 or more; null: not known. */
  readonly value: number | null;
  readonly text: string;
}

/** @example amountsSvg({ title: 'Training time', amounts: [{ name: 'a', value: 353, text: '5 min 53 s' }] }) */
export function amountsSvg({
  title,
  amounts,
}: {
  readonly title: string;
  readonly amounts: readonly Amount[];
}): string {
  const [left, width, step, top] = [150, 380, 26, 40];
  const most = Math.max(1e-300, ...amounts.map(({ value }) => value ?? 0));
  const parts = amounts.flatMap(({ name, value, text }, i) => {
    const y = top + i * step;
    const long = (width * Math.max(0, value ?? 0)) / most;
    const short = name.length > 22 ? `${name.slice(0, 21)}…` : name;
    return [
      textAt(left - 8, y + 13, short, { anchor: 'end' }),
      boxAt(
        left,
        y,
        value === null ? 0 : Math.max(1, long),
        17,
        `fill="${seriesColours[i % seriesColours.length]}"`,
      ),
      textAt(left + (value === null ? 0 : Math.max(1, long)) + 7, y + 13, text),
    ];
  });
  return page(title, left + width + 150, top + amounts.length * step + 8, parts);
}
