/**
 * `espalier inspect`: what is left of a network's weights, or the memory of a training step, as text and as SVG; of a run
 * directory, what it tells: the numbers of the dashboard.
 */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { writeFileAtomic } from '../../files.js';
import { matrixShapes } from '../../model/sparse/files.js';
import {
  barsSvg,
  barsText,
  heatSvg,
  heatText,
  histogram,
  histogramsSvg,
  histogramText,
} from '../../pictures/index.js';
import { readRun } from '../../reports/index.js';
import { openSafetensors, type StoredData, type TensorSource } from '../../store/index.js';
import { printRun } from '../run-printer.js';
import { note, out } from '../terminal.js';
import { inspectMemory, type MemoryOptions } from './inspect-memory.js';
import { collect } from './train.js';

/** A layer's weights as a matrix. */
interface Layer {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly left: number;
  /** What is not 0. */
  readonly values: Float32Array;
  /** [cols], how many weights of each column are left. */
  readonly byColumn: Uint32Array;
}

export function inspectCommand(): Command {
  return new Command('inspect')
    .description(
      'show what a run tells, what is left of the weights of a network, or what a training step holds in memory',
    )
    .argument(
      '<path>',
      'a run directory; a safetensors file (exported network, model, checkpoint); with --memory also a file of settings',
    )
    .option('--memory', 'live bytes over one training step, by kind: dense, and as configured')
    .option(
      '--set <path=value>',
      'with --memory: one setting, e.g. saved.inputs.keep=0.3 (repeatable)',
      collect,
      [],
    )
    .option('--json', 'of a run, every number of `espalier ui` as JSON; with --memory, every point')
    .option('--svg <dir>', 'also write the pictures there')
    .addHelpText(
      'after',
      '\nExamples:\n  espalier inspect runs/wn --json\n  espalier inspect model.safetensors --svg out\n  espalier inspect --memory runs/wn',
    )
    .action(async (file: string, options: MemoryOptions & { readonly memory?: boolean }) => {
      if (options.memory === true) return inspectMemory(file, options);
      const { svg } = options;
      if ((await stat(file).catch(() => null))?.isDirectory()) {
        const report = await readRun(file);
        if (options.json === true) out(JSON.stringify(report));
        else printRun(report);
        return;
      }
      const source = await openSafetensors(file);
      let layers: Layer[];
      try {
        layers = await layersOf(source, matrixShapes(file, source));
      } finally {
        await source.close();
      }
      if (layers.length === 0) note('no weights of two dimensions here');
      print(layers);
      if (svg !== undefined) await draw(layers, svg);
    });
}

/** Sparse matrices by their three parts, and every dense float tensor of two dimensions or more. */
async function layersOf(source: TensorSource, shapes: ReturnType<typeof matrixShapes>): Promise<Layer[]> {
  const layers: Layer[] = [];
  for (const [name, { shape, dtype }] of source.tensors) {
    if (name.endsWith('.indptr')) {
      const stem = name.slice(0, -'.indptr'.length);
      const values = Float32Array.from((await source.read(`${stem}.values`)) as Float32Array);
      const indices = Uint32Array.from((await source.read(`${stem}.indices`)) as Uint16Array);
      const cols = shapes.get(stem)?.[1] ?? indices.reduce((most, i) => Math.max(most, i + 1), 0);
      layers.push(layerOf(stem, shape[0] - 1, cols, values, (e) => indices[e]));
    } else if (shape.length >= 2 && (dtype === 'F32' || dtype === 'F64')) {
      const data = (await source.read(name)) as StoredData & ArrayLike<number>;
      const rows = shape[0];
      const cols = rows === 0 ? 0 : data.length / rows;
      const places: number[] = [];
      for (let i = 0; i < data.length; i++) if (Number(data[i]) !== 0) places.push(i);
      const values = Float32Array.from(places, (i) => Number(data[i]));
      layers.push(layerOf(name.replace(/\.weight$/, ''), rows, cols, values, (e) => places[e] % cols));
    }
  }
  return layers.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}

function layerOf(
  name: string,
  rows: number,
  cols: number,
  values: Float32Array,
  columnOf: (entry: number) => number,
): Layer {
  const byColumn = new Uint32Array(cols);
  for (let e = 0; e < values.length; e++) byColumn[columnOf(e)]++;
  return { name, rows, cols, left: values.length, values, byColumn };
}

const limitOf = (values: Float32Array) =>
  Number(values.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-9).toPrecision(2));
const sharesOf = ({ values }: Layer, bins: number, limit: number) => histogram(values, bins, -limit, limit);
const bars = (layers: readonly Layer[]) =>
  layers.map(({ name, rows, cols, left }) => ({ name, share: left / Math.max(1, rows * cols) }));
/** Columns as a square where they are one: pixels of an image, taps of a filter. */
const sideOf = (columns: number) => (Number.isInteger(Math.sqrt(columns)) ? Math.sqrt(columns) : 1);

function print(layers: readonly Layer[]): void {
  const all = layers.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const left = layers.reduce((sum, layer) => sum + layer.left, 0);
  out(`${left} of ${all} weights are not 0 (${((100 * left) / Math.max(1, all)).toFixed(2)} %)`);
  for (const line of barsText(bars(layers))) out(line);
  out();
  for (const layer of layers) {
    const limit = limitOf(layer.values);
    out(`${layer.name} [${layer.rows} x ${layer.cols}]`);
    out(`  ${-limit} |${histogramText(sharesOf(layer, 48, limit), true)}| ${limit}`);
  }
  const [first] = layers;
  if (first === undefined || sideOf(first.cols) < 4) return;
  out();
  out(`where ${first.name} still looks:`);
  for (const line of heatText({ title: '', rows: sideOf(first.cols), values: first.byColumn }))
    out(`  ${line}`);
}

async function draw(layers: readonly Layer[], directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const write = async (file: string, svg: string) => {
    await writeFileAtomic(join(directory, file), svg);
    note(`wrote ${join(directory, file)}`);
  };
  await write('layers.svg', barsSvg({ title: 'Weights left', bars: bars(layers) }));
  const limit = Math.max(0, ...layers.map(({ values }) => limitOf(values)));
  const panels = layers.map((layer) => ({ title: layer.name, shares: sharesOf(layer, 61, limit) }));
  const of = { title: 'Weights that are not 0', from: -limit, to: limit, logarithmic: true };
  await write('weights.svg', histogramsSvg({ ...of, panels }));
  for (const { name, cols, byColumn } of layers.slice(0, 1)) {
    await write(
      'first-layer.svg',
      heatSvg({ title: `Weights left, ${name}`, rows: sideOf(cols), values: byColumn }),
    );
  }
}
