/** Timelines of live bytes as one picture: panels side by side on one scale, stacked by tag. */
import { type BytesByTag, type MemoryTag, memoryTags } from '../../tensor/memory.js';
import type { MemoryTimeline } from '../../tensor/timeline.js';

const colours: Readonly<Record<MemoryTag, string>> = {
  weights: '#4e79a7',
  indices: '#76b7b2',
  optimizer: '#59a14f',
  gradients: '#edc948',
  activations: '#e15759',
  workspace: '#b07aa1',
  data: '#9c755f',
  auxiliary: '#bab0ac',
};

const panel = { width: 420, height: 260, left: 64, top: 40, gap: 24, legend: 28 };

/**
 * An SVG of timelines side by side, live MiB over the events of a step.
 *
 * @example await writeFile('memory.svg', memorySvg([{ title: 'dense', timeline: a }, { title: 'pruned', timeline: b }]));
 */
export function memorySvg(
  panels: readonly { readonly title: string; readonly timeline: MemoryTimeline }[],
): string {
  const top = niceCeiling(Math.max(1, ...panels.map(({ timeline }) => timeline.peakBytes)) / 2 ** 20);
  const used = memoryTags.filter((tag) =>
    panels.some(({ timeline }) => timeline.points.some((point) => point[tag] > 0)),
  );
  const width = panel.left + panels.length * (panel.width + panel.gap);
  const height = panel.top + panel.height + 24 + panel.legend;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...axis(top, width),
    ...panels.flatMap(({ title, timeline }, i) =>
      drawPanel(title, timeline, panel.left + i * (panel.width + panel.gap), top, used),
    ),
    ...legend(used, height),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

const yOf = (mib: number, top: number) => panel.top + panel.height * (1 - mib / top);

function axis(top: number, width: number): string[] {
  return [0, 0.25, 0.5, 0.75, 1].flatMap((share) => {
    const y = yOf(share * top, top).toFixed(1);
    return [
      `<line x1="${panel.left}" x2="${width - panel.gap}" y1="${y}" y2="${y}" stroke="#ddd"/>`,
      `<text x="${panel.left - 6}" y="${y}" text-anchor="end" dominant-baseline="middle">${Number((share * top).toPrecision(3))}</text>`,
    ];
  });
}

function drawPanel(
  title: string,
  { points, marks, peakBytes }: MemoryTimeline,
  left: number,
  top: number,
  tags: readonly MemoryTag[],
): string[] {
  const x = (at: number) => (left + (panel.width * at) / Math.max(1, points.length)).toFixed(1);
  const below = points.map(() => 0);
  const areas = tags.map((tag) => {
    const lower = [...below];
    points.forEach((point: BytesByTag, i) => {
      below[i] += point[tag] / 2 ** 20;
    });
    const path = `M${steps(below, x, top).join('L')}L${steps(lower, x, top).reverse().join('L')}Z`;
    return `<path d="${path}" fill="${colours[tag]}"/>`;
  });
  const peak = (peakBytes / 2 ** 20).toFixed(1);
  return [
    `<text x="${left}" y="${panel.top - 20}" font-weight="bold">${escaped(title)}: peak ${peak} MiB</text>`,
    ...areas,
    ...marks.flatMap(({ name, at }) => [
      `<line x1="${x(at)}" x2="${x(at)}" y1="${panel.top}" y2="${panel.top + panel.height}" stroke="#333" stroke-dasharray="3 3"/>`,
      // The last name stands before its line: beside the next panel there is no room.
      `<text x="${x(at)}" y="${panel.top - 5}" font-size="10"${at > 0.8 * points.length ? ' text-anchor="end"' : ''}>${escaped(name)}</text>`,
    ]),
  ];
}

/** Both corners of every step: what is live stays so until the next event that changes it. */
function steps(values: readonly number[], x: (at: number) => string, top: number): string[] {
  const heights = values.map((value) => yOf(value, top).toFixed(1));
  const starts = [...heights.keys()].filter((i) => i === 0 || heights[i] !== heights[i - 1]);
  return starts.flatMap((start, s) => {
    const end = starts[s + 1] ?? heights.length;
    return [`${x(start)} ${heights[start]}`, `${x(end)} ${heights[start]}`];
  });
}

function legend(tags: readonly MemoryTag[], height: number): string[] {
  const y = height - panel.legend + 8;
  return [
    `<text x="6" y="${panel.top - 20}">MiB</text>`,
    ...tags.flatMap((tag, i) => [
      `<rect x="${panel.left + 100 * i}" y="${y - 9}" width="10" height="10" fill="${colours[tag]}"/>`,
      `<text x="${panel.left + 100 * i + 14}" y="${y}">${tag}</text>`,
    ]),
  ];
}

/** 1, 2, 2.5 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10);
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
