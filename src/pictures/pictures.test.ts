import { describe, expect, it } from 'vitest';
import {
  amountsSvg,
  barsSvg,
  barsText,
  evenly,
  heatSvg,
  heatText,
  histogram,
  histogramsSvg,
  histogramText,
  intervalsSvg,
  linesSvg,
  scatterSvg,
  ticks,
} from './index.js';

const boxes = (svg: string) => svg.match(/<rect /g)?.length ?? 0;

describe('pictures', () => {
  it('count values in equal bins, what lies outside at the ends', () => {
    expect(histogram([-9, 0, 0.24, 0.5, 0.99, 1, 7, 0.3], 4, 0, 1)).toEqual([3 / 8, 1 / 8, 1 / 8, 3 / 8]);
    expect(histogram([], 3, 0, 1)).toEqual([0, 0, 0]);
  });

  it('draw a bar per share that is not 0, and none that sticks out', () => {
    const panels = [{ title: 'D & S', shares: [0.5, 0, 0.5, 1e-7] }];
    const svg = histogramsSvg({ title: 'Weights <w>', from: -1, to: 1, panels });
    expect(boxes(svg)).toBe(1 + 3);
    expect(svg).toContain('Weights &lt;w&gt;');
    expect(svg).toContain('D &amp; S');
    expect(histogramText([0, 1, 0.5, 1e-4])).toBe(' █▄▁');
    expect(histogramText([1, 1e-3], true)).toBe('█▃');
  });

  it('show shares of layers as bars and as lines of equal length', () => {
    const bars = [
      { name: 'a', share: 0.5 },
      { name: 'head', share: 1 },
    ];
    expect(boxes(barsSvg({ title: 't', bars }))).toBe(5);
    expect(barsText(bars, 4)).toEqual(['a     ██     50.0 %', 'head  ████  100.0 %']);
  });

  it('tell nothing from little in heat maps, and shrink wide ones by sums', () => {
    expect(heatText({ title: 't', rows: 2, values: [0, 1, 100, 50] })).toEqual(['  ░░', '██▓▓']);
    expect(heatText({ title: 't', rows: 2, values: [1, 0, 0, 0, 0, 3, 3, 3] }, 2)).toEqual(['▓█']);
    expect(boxes(heatSvg({ title: 't', rows: 2, values: [0, 1, 2, 3] }))).toBe(5);
  });

  it('choose evenly, first and last among them', () => {
    expect(evenly([1, 2, 3, 4, 5], 3)).toEqual([1, 3, 5]);
    expect(evenly([1, 2], 3)).toEqual([1, 2]);
  });

  it('split axes at round numbers that lie within', () => {
    expect(ticks(0, 10)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(0.3, 0.71)).toEqual([0.3, 0.4, 0.5, 0.6, 0.7]);
    expect(ticks(3, 3)).toEqual([3]);
  });

  it('draw a dot and a line per known interval, a bar per amount, a path per line, and names as text', () => {
    const mark = { value: 2, low: 1, high: 3 };
    const intervals = intervalsSvg({
      ...{ title: 'P@k', unit: '%', series: ['<a>', 'b'] },
      groups: [{ name: 'P@1', marks: [mark, null] }],
    });
    expect(intervals.match(/<circle /g)?.length).toBe(2 + 1);
    expect(intervals).toContain('&lt;a&gt;');
    const amounts = amountsSvg({
      title: 'time',
      amounts: [
        { name: 'a', value: 2, text: '2 s' },
        { name: 'b', value: null, text: '–' },
      ],
    });
    expect(boxes(amounts)).toBe(3);
    const lines = linesSvg({
      ...{ title: 't', xTitle: 'x', yTitle: 'y', marks: [{ x: 1, y: 1, text: 'here' }] },
      lines: [
        {
          name: '<i>',
          points: [
            [0, 0],
            [2, 2],
          ],
        },
      ],
    });
    expect(lines.match(/<path /g)?.length).toBe(1);
    expect(`${intervals}${amounts}${lines}`).not.toMatch(/NaN|Infinity|<i>/);
  });

  it('draw every point within its axes, the frontier with intervals, and one point alone too', () => {
    const titles = { title: 't', xTitle: 'MiB', yTitle: 'P@1', zTitle: 's' };
    const points = [
      { x: 10, y: 50, z: 1, low: 48, high: 52, onFrontier: true, chosen: true, name: 'a < b' },
      { x: 1000, y: 60, z: 9, low: 58, high: 62, onFrontier: true },
      { x: 900, y: 20, z: 5, low: 0, high: 99 },
    ];
    const svg = scatterSvg({ ...titles, points });
    // Three points, a ring, and a key of the shades that occur.
    expect(svg.match(/<circle /g)?.length).toBe(3 + 1 + 3);
    expect([...svg.matchAll(/>from (\d+)</g)].map(([, z]) => z)).toEqual(['1', '5', '9']);
    expect(svg.match(/stroke-width="1.5"/g)?.length).toBe(2);
    expect(svg).toContain('a &lt; b');
    for (const [, x, y] of svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="[36]"/g)) {
      expect(Number(x)).toBeGreaterThanOrEqual(70);
      expect(Number(x)).toBeLessThanOrEqual(590);
      expect(Number(y)).toBeGreaterThanOrEqual(60);
      expect(Number(y)).toBeLessThanOrEqual(360);
    }
    const alone = scatterSvg({ ...titles, points: [{ x: 7, y: 0, z: 2 }] });
    expect(`${svg}${alone}${scatterSvg({ ...titles, points: [] })}`).not.toMatch(/NaN|Infinity|undefined/);
  });
});
