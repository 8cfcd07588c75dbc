/** Timelines of live bytes for terminals: panels side by side on one scale, stacked by tag, a letter for each. */
import { type BytesByTag, type MemoryTag, memoryTags } from '../../tensor/memory.js';
import type { MemoryTimeline } from '../../tensor/timeline.js';

const letters: Readonly<Record<MemoryTag, string>> = {
  weights: 'w',
  indices: 'i',
  optimizer: 'o',
  gradients: 'g',
  activations: 'a',
  workspace: 's',
  data: 'd',
  auxiliary: 'x',
};

const MiB = 2 ** 20;
const sumOf = (point: BytesByTag) => memoryTags.reduce((sum, tag) => sum + point[tag], 0);

/** Panels as lines of text, and a table of what each tag holds at the worst moment. */
export function memoryText(
  panels: readonly { readonly title: string; readonly timeline: MemoryTimeline }[],
  { width = 48, height = 14 }: { readonly width?: number; readonly height?: number } = {},
): string[] {
  const top = Math.max(1, ...panels.map(({ timeline }) => timeline.peakBytes));
  const drawn = panels.map(({ timeline }) => columnsOf(timeline, width));
  const lines = Array.from({ length: height }, (_, row) => {
    const level = top * (1 - row / height);
    const label = row % 4 === 0 ? (level / MiB).toPrecision(3) : '';
    const rows = drawn.map((columns) => columns.map((c) => letterAt(c, level - top / height / 2)).join(''));
    return `${label.padStart(8)} |${rows.join('  |')}`;
  });
  const floor = `${''.padStart(8)} +${drawn.map(() => '-'.repeat(width)).join('  +')}`;
  const marks = panels.map(({ timeline }) => marksOf(timeline, width));
  const titles = panels.map(({ title }) => title.slice(0, width).padEnd(width));
  return [
    `${'MiB'.padStart(8)}  ${titles.join('   ')}`.trimEnd(),
    ...lines.map((line) => line.trimEnd()),
    floor,
    `${''.padStart(8)}  ${marks.join('   ')}`.trimEnd(),
    '',
    ...table(panels),
  ];
}

/** Each column stands for some events in a row: the worst of them. */
function columnsOf({ points }: MemoryTimeline, width: number): BytesByTag[] {
  return Array.from({ length: width }, (_, column) => {
    const from = Math.floor((column * points.length) / width);
    const to = Math.max(from + 1, Math.floor(((column + 1) * points.length) / width));
    return points.slice(from, to).reduce((worst, point) => (sumOf(point) > sumOf(worst) ? point : worst));
  });
}

function letterAt(point: BytesByTag, level: number): string {
  let below = 0;
  for (const tag of memoryTags) {
    below += point[tag];
    if (below > level) return letters[tag];
  }
  return ' ';
}

function marksOf({ marks, points }: MemoryTimeline, width: number): string {
  let line = '';
  for (const { name, at } of marks) {
    const column = Math.floor((at * width) / points.length);
    // Parts too short for their name go without.
    if (column < line.length) continue;
    line = `${line.padEnd(column)}^${name} `;
  }
  return line.slice(0, width).padEnd(width);
}

function table(panels: readonly { readonly title: string; readonly timeline: MemoryTimeline }[]): string[] {
  const peaks = panels.map(({ timeline }) => timeline.points[timeline.peakAt]);
  const row = (name: string, pick: (point: BytesByTag) => number) =>
    name.padEnd(20) + peaks.map((point) => (pick(point) / MiB).toFixed(2).padStart(14)).join('');
  const used = memoryTags.filter((tag) => peaks.some((point) => point[tag] > 0));
  const shares = peaks.map((point) => `${((100 * sumOf(point)) / sumOf(peaks[0])).toFixed(0)} %`);
  return [
    'MiB at the peak'.padEnd(20) + panels.map(({ title }) => title.slice(0, 12).padStart(14)).join(''),
    ...used.map((tag) => row(`${letters[tag]} ${tag}`, (point) => point[tag])),
    row('all', sumOf),
    ...(panels.length > 1 ? [`${''.padEnd(20)}${shares.map((share) => share.padStart(14)).join('')}`] : []),
  ];
}
