/** Sparse networks on disk: one safetensors file; matrices by rows where that is smaller, dense elsewhere. */
import { z } from 'zod';
import type { PixelScale } from '../../data/image-batches.js';
import { EspalierError } from '../../errors.js';
import type { Kernels } from '../../kernels/face.js';
import { scatterRows, sparseBytes, sparseRows } from '../../nn/sparse-linear.js';
import { parsedJson } from '../../parsed.js';
import {
  openSafetensors,
  type StoredArray,
  type StoredData,
  type TensorSource,
  type WrittenFile,
  writeSafetensors,
} from '../../store/index.js';
import { SparseNetwork } from './network.js';
import { matrixOf, programSchema, type StepWeights, type WeightedStep, weightedSteps } from './program.js';

const FORMAT = 'espalier-sparse/1';
const form = z.enum(['sparse', 'dense']);
const header = z.object({
  input: z.array(z.number().int().min(1).max(65_536)).max(4),
  steps: programSchema,
  forms: z.record(z.string(), z.object({ few: form, many: form })),
  pixels: z
    .object({ scale: z.array(z.number()).min(1).max(4096), shift: z.array(z.number()).min(1).max(4096) })
    .optional(),
});

/**
 * Writes a network; per matrix either `indptr`, `indices` (16 bits where they fit) and `values`, or `weight`.
 * @example const { bytes } = await saveSparse('lenet.safetensors', network);
 */
export function saveSparse(
  path: string,
  network: SparseNetwork,
  { pixels }: { /** How bytes become inputs. */ readonly pixels?: PixelScale } = {},
): Promise<WrittenFile> {
  const { input, steps, weights } = network.program;
  // Scales and tables have no forms to choose from.
  const forms = Object.fromEntries(network.weighted().map((layer) => [layer.step.name, layer.forms]));
  const arrays = weightedSteps(steps).flatMap(({ name }) => arraysOf(name, weights.get(name) as StepWeights));
  const scale = pixels && { scale: Array.from(pixels.scale), shift: Array.from(pixels.shift) };
  const program = JSON.stringify({ input, steps, forms, pixels: scale });
  const metadata = { format: FORMAT, program };
  return writeSafetensors(path, arrays, { metadata });
}

function arraysOf(name: string, { weight, bias }: StepWeights): StoredArray[] {
  const { rows, cols, indptr, indices, values } = weight;
  const stored = (part: string, shape: number[], data: StoredData) => ({
    name: `${name}.${part}`,
    shape,
    data,
  });
  const shift = bias === null ? [] : [stored('bias', [rows], Float32Array.from(bias))];
  if (sparseBytes(weight) >= 4 * rows * cols) {
    const dense = new Float32Array(rows * cols);
    scatterRows(weight, dense);
    return [...shift, stored('weight', [rows, cols], dense)];
  }
  const places = cols <= 0x10000 ? Uint16Array.from(indices) : indices;
  return [
    ...[...shift, stored('indptr', [rows + 1], indptr)],
    ...[
      stored('indices', [places.length], places),
      stored('values', [values.length], Float32Array.from(values)),
    ],
  ];
}

/**
 * Reads what `saveSparse` wrote; every size and index is checked before anything runs.
 * @throws EspalierError `SPARSE_FILE`, `SAFETENSORS_*`, `FILE_*`
 */
export async function loadSparse(path: string, kernels: Kernels): Promise<SparseNetwork> {
  const source = await openSafetensors(path);
  try {
    const refuse = refusalsOf(path);
    if (source.metadata.get('format') !== FORMAT)
      throw refuse('this is not a sparse network', source.metadata.get('format') ?? 'no format');
    const { input, steps, forms, pixels } = parseHeader(source.metadata.get('program') ?? '', refuse);
    const weights = new Map<string, StepWeights>();
    for (const step of weightedSteps(steps)) {
      if (weights.has(step.name)) throw refuse('two layers have one name', step.name);
      weights.set(step.name, await readWeights(source, step, refuse));
    }
    const scale = pixels && {
      scale: Float32Array.from(pixels.scale),
      shift: Float32Array.from(pixels.shift),
    };
    const network = new SparseNetwork(kernels, { input, steps, weights, pixels: scale });
    for (const layer of network.weighted()) Object.assign(layer.forms, forms[layer.step.name]);
    return network;
  } finally {
    await source.close();
  }
}

/** Rows and columns of every matrix of an exported network, by name, as its program says; none of other files. */
export function matrixShapes(
  path: string,
  source: TensorSource,
): ReadonlyMap<string, readonly [rows: number, cols: number]> {
  const program = source.metadata.get('program');
  if (program === undefined) return new Map();
  const { steps } = parseHeader(program, refusalsOf(path));
  return new Map(weightedSteps(steps).map((step) => [step.name, matrixOf(step)]));
}

type Refuse = (problem: string, received?: string) => EspalierError;

const refusalsOf =
  (path: string): Refuse =>
  (problem, received) =>
    damaged(path, problem, received);

const parseHeader = (text: string, refuse: Refuse): z.infer<typeof header> =>
  parsedJson(header, text, (detail) => refuse('its program is not sound', detail));

async function readWeights(source: TensorSource, step: WeightedStep, refuse: Refuse): Promise<StepWeights> {
  const [rows, cols] = matrixOf(step);
  if (!Number.isInteger(cols)) throw refuse('groups do not divide the channels', step.name);
  const read = async (part: string, dtypes: readonly string[], length: number | null) => {
    const name = `${step.name}.${part}`;
    const info = source.tensors.get(name);
    if (info === undefined || !dtypes.includes(info.dtype))
      throw refuse(`${name} is not as it should be`, info?.dtype);
    const data = await source.read(name);
    if (length !== null && data.length !== length)
      throw refuse(`${name} has a wrong length`, `${data.length}`);
    return data;
  };
  const bias = step.bias ? ((await read('bias', ['F32'], rows)) as Float32Array) : null;
  if (source.tensors.has(`${step.name}.weight`)) {
    const dense = (await read('weight', ['F32'], rows * cols)) as Float32Array;
    return { weight: sparseRows(rows, cols, dense), bias };
  }
  const indptr = (await read('indptr', ['I32'], rows + 1)) as Int32Array;
  const places = (await read('indices', ['U16', 'U32'], null)) as Uint16Array | Uint32Array;
  const values = (await read('values', ['F32'], places.length)) as Float32Array;
  const ascends = indptr.every((at, i) => (i === 0 ? at === 0 : at >= indptr[i - 1]));
  if (!ascends || indptr[rows] !== places.length || places.some((place) => place >= cols))
    throw refuse('the indices do not fit the matrix', step.name);
  return { weight: { rows, cols, indptr, indices: Uint32Array.from(places), values }, bias };
}

function damaged(file: string, problem: string, received?: string): EspalierError {
  const hint = 'export the network again';
  return new EspalierError({
    code: 'SPARSE_FILE',
    kind: 'data',
    op: 'loadSparse',
    problem,
    received,
    hint,
    file,
  });
}
