/** `espalier inspect --memory`: live bytes over one training step, dense beside what is configured. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatasetDirectory } from '../../data/cache.js';
import { EspalierError } from '../../errors.js';
import { withFileErrors, writeFileAtomic } from '../../files.js';
import { selectKernels } from '../../kernels/index.js';
import { memorySvg } from '../../methods/block-sparse/memory-svg.js';
import { memoryText } from '../../methods/block-sparse/memory-text.js';
import { chooseOutput } from '../../train/auto-output.js';
import { setPath, type TrainConfigInput } from '../../train/config.js';
import { parseNetwork } from '../../train/network/spec.js';
import { leavesOutputOpen, provisional } from '../../train/open-output.js';
import { classifierTimelines, networkTimelines, type TimelinePanel } from '../../train/step-timelines.js';
import { note, out } from '../terminal.js';

export interface MemoryOptions {
  readonly svg?: string;
  readonly json?: boolean;
  readonly set: readonly string[];
}

/** `path`: a run directory, or a file of settings, of a classifier or of a network (`model.kind`). */
export async function inspectMemory(path: string, { svg, json, set }: MemoryOptions): Promise<void> {
  const panels = await timelinesOf(path, set);
  if (svg !== undefined) {
    const file = join(svg, 'memory.svg');
    await withFileErrors('espalier inspect', svg, () => mkdir(svg, { recursive: true }).then(() => {}));
    await writeFileAtomic(file, memorySvg(panels));
    note(`wrote ${file}`);
  }
  if (json === true) {
    const plain = panels.map(({ title, timeline: { peakBytes, marks, points } }) => ({
      ...{ title, peakBytes, marks, points },
    }));
    out(JSON.stringify({ panels: plain }));
  } else for (const line of memoryText(panels)) out(line);
}

async function timelinesOf(path: string, set: readonly string[]): Promise<TimelinePanel[]> {
  const about = await withFileErrors('espalier inspect', path, () => stat(path));
  const file = about.isDirectory() ? join(path, 'config.json') : path;
  const { fingerprint: _, ...settings } = await readSettings(file);
  for (const assignment of set) setPath(settings, assignment);
  const { model } = settings as { readonly model?: { readonly kind?: unknown } };
  if (model?.kind !== undefined) return networkTimelines(parseNetwork(settings, file), selectKernels());
  const input = { out: 'none', ...settings } as TrainConfigInput;
  const checked = provisional(input, file);
  const directory = await DatasetDirectory.open(checked.data);
  const rows = await directory.load(checked.rows === 'all' ? 'trainAll' : 'train');
  const kernels = selectKernels({ backend: checked.backend });
  const room = { maxMemory: Infinity, baseRss: 0 };
  const config = leavesOutputOpen(input)
    ? (await chooseOutput(input, kernels, { rows, validation: null }, room)).config
    : checked;
  return classifierTimelines(config, kernels, rows);
}

async function readSettings(file: string): Promise<Record<string, unknown>> {
  const text = await withFileErrors('espalier inspect', file, () => readFile(file, 'utf8'));
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {}
  throw new EspalierError({
    code: 'CONFIG_JSON',
    kind: 'usage',
    op: 'espalier inspect',
    problem: 'the settings are not a JSON object',
    hint: 'pass a run directory, or the file of settings that a training was begun with',
    file,
  });
}
