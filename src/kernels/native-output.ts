/** The native kernels of the output layers: args objects in, positional calls out, lengths guarded. */
import type {
  Bf16Weights,
  FanInIndexShape,
  FanInScreenShape,
  FanInWeights,
  Floats,
  GroupedWeights,
  Kernels,
  OutputStepCommon,
  TopKCommon,
  UpdateRule,
  WorkspaceShape,
} from './face.js';
import { f32, f32OrNull, guarded, type NativeBackend, need } from './native-addon.js';

export type OutputKernels = Pick<
  Kernels,
  | 'fanInStep'
  | 'fanInLogits'
  | 'fanInTopK'
  | 'fanInScreenLength'
  | 'fanInScreenBuild'
  | 'fanInIndexLength'
  | 'fanInIndexBuild'
  | 'fanInRegrow'
  | 'fanInRegrowWorkspace'
  | 'denseStep'
  | 'denseTopK'
  | 'groupedStep'
  | 'groupedTopK'
  | 'fanInWorkspace'
  | 'denseWorkspace'
  | 'groupedWorkspace'
  | 'topKWorkspace'
  | 'groupedTopKWorkspace'
>;

/** What follows the 28 arguments that native/include/kernels.h lists as ES_STEP_PARAMETERS. */
type StepCall = (...args: unknown[]) => void;

interface OutputAddon {
  fan_in_workspace(
    b: number,
    d: number,
    l: number,
    chunk: number,
    f: number,
    bf16: boolean,
    length: Float64Array,
  ): void;
  dense_workspace(b: number, d: number, l: number, chunk: number, bf16: boolean, length: Float64Array): void;
  dense_top_k_workspace(batch: number, inputs: number, k: number, bf16: boolean, length: Float64Array): void;
  fan_in_top_k_workspace(batch: number, inputs: number, k: number, length: Float64Array): void;
  grouped_workspace(b: number, d: number, f: number, size: number, bf16: boolean, length: Float64Array): void;
  grouped_top_k_workspace(
    b: number,
    d: number,
    f: number,
    size: number,
    k: number,
    bf16: boolean,
    length: Float64Array,
  ): void;
  fan_in_index_length(d: number, l: number, f: number, chunk: number, length: Float64Array): void;
  fan_in_index_build: StepCall;
  fan_in_screen_length(d: number, l: number, f: number, length: Float64Array): void;
  fan_in_screen_build: StepCall;
  fan_in_step: StepCall;
  fan_in_regrow_workspace(batch: number, inputs: number, fanIn: number, length: Float64Array): void;
  fan_in_regrow: StepCall;
  dense_step: StepCall;
  grouped_step: StepCall;
  grouped_top_k: StepCall;
  fan_in_logits: StepCall;
  fan_in_top_k: StepCall;
  dense_top_k: StepCall;
}

const LOSSES = { bce: 0, squaredHinge: 1, softmax: 2 } as const;
/** The first walk of softmax. */
const LOG_SUM = 3;
const COLUMN_HINT =
  'every column must be below `inputs`, every positive sorted and inside the batch and the labels';

/** `pairs`: bfloat16 weights are multiplied in pairs where the processor can. */
export function outputKernels(backend: NativeBackend, pairs = true): OutputKernels {
  const addon = () => backend.use() as unknown as OutputAddon;
  const out = new Float64Array(1);
  const length = (op: string, ask: (addon: OutputAddon) => void): number => {
    guarded(op, '', () => ask(addon()));
    return out[0];
  };
  const indexLength = ({ inputs, labels, fanIn, chunk }: FanInIndexShape): number =>
    length('fanInIndexLength', (a) => a.fan_in_index_length(inputs, labels, fanIn, chunk, out));
  const screenLength = ({ inputs, labels, fanIn }: FanInScreenShape): number =>
    length('fanInScreenLength', (a) => a.fan_in_screen_length(inputs, labels, fanIn, out));

  return {
    fanInWorkspace: ({ batch, inputs, labels, chunk, fanIn, bf16 = false }) =>
      length('fanInWorkspace', (a) => a.fan_in_workspace(batch, inputs, labels, chunk, fanIn, bf16, out)),
    denseWorkspace: ({ batch, inputs, labels, chunk, bf16 = false }: WorkspaceShape) =>
      length('denseWorkspace', (a) => a.dense_workspace(batch, inputs, labels, chunk, bf16, out)),
    topKWorkspace: ({ batch, inputs, fanIn, bf16 = false }, k) =>
      length('topKWorkspace', (a) =>
        fanIn > 0
          ? a.fan_in_top_k_workspace(batch, inputs, k, out)
          : a.dense_top_k_workspace(batch, inputs, k, bf16, out),
      ),
    groupedWorkspace: ({ batch, inputs, fanIn, groupSize, bf16 = false }) =>
      length('groupedWorkspace', (a) => a.grouped_workspace(batch, inputs, fanIn, groupSize, bf16, out)),
    groupedTopKWorkspace: ({ batch, inputs, fanIn, groupSize, bf16 = false }, k) =>
      length('groupedTopKWorkspace', (a) =>
        a.grouped_top_k_workspace(batch, inputs, fanIn, groupSize, k, bf16, out),
      ),
    fanInIndexLength: indexLength,

    fanInIndexBuild(args) {
      const { inputs, labels, fanIn, chunk, begin, end, columns, index } = args;
      const op = 'fanInIndexBuild';
      need(op, 'columns', columns, labels * fanIn);
      need(op, 'index', index, indexLength(args));
      const bytes = columns.BYTES_PER_ELEMENT;
      guarded(op, COLUMN_HINT, () =>
        addon().fan_in_index_build(inputs, labels, fanIn, chunk, begin, end, columns, bytes, index),
      );
    },

    fanInStep(args) {
      const { labels, fanIn, chunk, inputs, index, columns } = args;
      const op = 'fanInStep';
      need(op, 'columns', columns, labels * fanIn);
      if (index !== null) need(op, 'index', index, indexLength({ inputs, labels, fanIn, chunk }));
      const common = stepArguments(op, args, storedIn(args), args.bias, fanIn, out);
      const short = bf16Arguments(op, args.bf16, labels * fanIn);
      const bytes = columns.BYTES_PER_ELEMENT;
      guarded(op, COLUMN_HINT, () => addon().fan_in_step(...common, fanIn, columns, bytes, index, ...short));
      return out[0];
    },

    denseStep(args) {
      const op = 'denseStep';
      const common = stepArguments(op, args, storedIn(args), args.bias, args.inputs, out);
      const short = bf16Arguments(op, args.bf16, args.labels * args.inputs);
      guarded(op, COLUMN_HINT, () => addon().dense_step(...common, ...short, pairs));
      return out[0];
    },

    groupedStep(args) {
      const op = 'groupedStep';
      const layer = groupArguments(op, args);
      const common = stepArguments(op, args, storedIn(args), args.bias, args.fanIn, out);
      const short = bf16Arguments(op, args.bf16, args.labels * args.fanIn);
      guarded(op, COLUMN_HINT, () => addon().grouped_step(...common, ...layer, ...short, pairs));
      return out[0];
    },

    groupedTopK(args) {
      const { batch, inputs, labels, k, fanIn, labelOf } = args;
      const op = 'groupedTopK';
      need(op, 'labelOf', labelOf, labels);
      const layer = groupArguments(op, args);
      const w = f32OrNull(op, 'weights', storedIn(args), labels * fanIn);
      const [short] = bf16Arguments(op, args.bf16, labels * fanIn);
      const bias = f32(op, 'bias', args.bias, labels);
      const [h, ...results] = topKArguments(op, args);
      guarded(op, COLUMN_HINT, () =>
        addon().grouped_top_k(batch, inputs, labels, k, h, w, bias, ...layer, labelOf, ...results, short),
      );
    },

    fanInLogits(args) {
      const { batch, inputs, labels, begin, end, workspace } = args;
      const op = 'fanInLogits';
      const [short, ...layer] = fanInArguments(op, labels, args);
      const h = f32(op, 'h', args.h, batch * inputs);
      const z = f32(op, 'out', args.out, batch * (end - begin));
      const own = f32(op, 'workspace', workspace, 0);
      guarded(op, COLUMN_HINT, () =>
        addon().fan_in_logits(
          ...[batch, inputs, labels, begin, end, args.fanIn, h],
          ...[...layer, z, own, own.length, short],
        ),
      );
    },

    fanInScreenLength: screenLength,

    fanInScreenBuild(args) {
      const { inputs, labels, fanIn, screen } = args;
      const op = 'fanInScreenBuild';
      const [short, ...layer] = fanInArguments(op, labels, args);
      need(op, 'screen', screen, screenLength(args));
      guarded(op, COLUMN_HINT, () =>
        addon().fan_in_screen_build(inputs, labels, fanIn, ...layer, short, screen),
      );
    },

    fanInTopK(args) {
      const { batch, inputs, labels, k, fanIn, screen = null } = args;
      const op = 'fanInTopK';
      if (screen !== null) need(op, 'screen', screen, screenLength(args));
      const [short, ...layer] = fanInArguments(op, labels, args);
      const [h, ...results] = topKArguments(op, args);
      guarded(op, COLUMN_HINT, () =>
        addon().fan_in_top_k(batch, inputs, labels, fanIn, k, h, ...layer, ...results, short, screen),
      );
    },

    fanInRegrowWorkspace: ({ batch, inputs, fanIn }) =>
      length('fanInRegrowWorkspace', (a) => a.fan_in_regrow_workspace(batch, inputs, fanIn, out)),

    fanInRegrow(args) {
      const { batch, inputs, labels, begin, end, fanIn, positives, evidence, prune, key } = args;
      const { groups = null, scores = null, norms = null, products = 'float32', columns, stays = 0 } = args;
      const op = 'fanInRegrow';
      const units = groups?.count ?? labels;
      need(op, 'columns', columns, units * fanIn);
      if (groups !== null) {
        need(op, 'groups.starts', groups.starts, units + 1);
        need(op, 'scores', scores ?? NO_FLOATS, units * fanIn);
      }
      const w = f32OrNull(op, 'weights', storedIn(args), labels * fanIn);
      const [short] = bf16Arguments(op, args.bf16, labels * fanIn);
      const moments = (['m', 'v'] as const).map((name) =>
        f32OrNull(op, `weightMoments.${name}`, args.weightMoments[name], labels * fanIn),
      );
      need(op, 'positives.label', positives.label, positives.count);
      need(op, 'positives.row', positives.row, positives.count);
      if (evidence !== null) {
        need(op, 'evidence.label', evidence.label, evidence.count);
        need(op, 'evidence.row', evidence.row, evidence.count);
      }
      const sample =
        evidence === null
          ? [0, 0, null, null, null, null, null]
          : [
              evidence.count,
              evidence.rows,
              evidence.label,
              evidence.row,
              f32(op, 'evidence.weight', evidence.weight, evidence.count),
              f32(op, 'evidence.h', evidence.h, evidence.rows * inputs),
              f32OrNull(op, 'evidence.norms', evidence.norms ?? null, 2 * evidence.rows),
            ];
      const rule = 'perRow' in prune ? [stays, prune.perRow, 0, 0] : [stays, -1, prune.threshold, prune.ties];
      const h = f32(op, 'h', args.h, batch * inputs);
      const bias = f32(op, 'bias', args.bias, labels);
      const own = f32(op, 'workspace', args.workspace, 0);
      const counts = new Float64Array(2);
      guarded(op, COLUMN_HINT, () =>
        addon().fan_in_regrow(
          ...[batch, inputs, labels, units, begin, end, fanIn, h],
          ...[positives.count, positives.label, positives.row, LOSSES[args.loss]],
          ...[f32OrNull(op, 'norms', norms, 2 * batch), groups?.starts ?? null],
          ...[columns, columns.BYTES_PER_ELEMENT, w, short, ...moments, bias],
          f32OrNull(op, 'scores', scores, units * fanIn),
          ...sample,
          ...rule,
          ...[key.key0, key.key1, key.counter, pairs && products === 'bf16', own, own.length, counts],
        ),
      );
      return { replaced: counts[0], ties: counts[1] };
    },

    denseTopK(args) {
      const { batch, inputs, labels, k } = args;
      const op = 'denseTopK';
      const w = f32OrNull(op, 'weights', storedIn(args), labels * inputs);
      const [short] = bf16Arguments(op, args.bf16, labels * inputs);
      const bias = f32OrNull(op, 'bias', args.bias, labels);
      const [h, ...results] = topKArguments(op, args);
      guarded(op, COLUMN_HINT, () =>
        addon().dense_top_k(batch, inputs, labels, k, h, w, bias, ...results, short),
      );
    },
  };
}

/** bfloat16 weights or null, then columns, column_bytes, weights, bias of native/include/kernels.h. */
function fanInArguments(op: string, labels: number, layer: FanInWeights) {
  const { columns, bias, fanIn, bf16 } = layer;
  need(op, 'columns', columns, labels * fanIn);
  return [
    bf16Arguments(op, bf16, labels * fanIn)[0],
    columns,
    columns.BYTES_PER_ELEMENT,
    f32OrNull(op, 'weights', storedIn(layer), labels * fanIn),
    f32(op, 'bias', bias, labels),
  ] as const;
}

/** groups, group_size, fan_in, starts, columns, column_bytes of native/include/kernels.h. */
function groupArguments(op: string, { groups, groupSize, fanIn, starts, columns }: GroupedWeights) {
  need(op, 'starts', starts, groups + 1);
  need(op, 'columns', columns, groups * fanIn);
  return [groups, groupSize, fanIn, starts, columns, columns.BYTES_PER_ELEMENT] as const;
}

/** The float32 weights, or null where they are bfloat16. */
function storedIn({ weights, bf16 }: { weights: Floats; bf16?: Bf16Weights | null }): Floats | null {
  return bf16 ? null : weights;
}

/** ES_BF16_PARAMETERS of native/include/kernels.h. */
function bf16Arguments(op: string, bf16: Bf16Weights | null | undefined, length: number) {
  if (!bf16) return [null, 0, 0, 0] as const;
  need(op, 'bf16.weights', bf16.weights, length);
  const { key0, key1, counter } = bf16.rounding;
  return [bf16.weights, key0, key1, counter] as const;
}

function topKArguments(op: string, { batch, inputs, k, h, topLabels, topScores, workspace }: TopKCommon) {
  need(op, 'topLabels', topLabels, batch * k);
  return [
    f32(op, 'h', h, batch * inputs),
    topLabels,
    f32(op, 'topScores', topScores, batch * k),
    f32(op, 'workspace', workspace, 0),
    workspace.length,
  ] as const;
}

/** ES_STEP_PARAMETERS of native/include/kernels.h, in its order; `width` weights per label. */
function stepArguments(
  op: string,
  s: OutputStepCommon,
  weights: Floats | null,
  bias: Floats,
  width: number,
  lossOut: Float64Array,
): unknown[] {
  const { batch, inputs, labels, positives, update } = s;
  const { rule, weightMoments, biasMoments } = update;
  need(op, 'positives.label', positives.label, positives.count);
  need(op, 'positives.row', positives.row, positives.count);
  if (s.squares !== null) need(op, 'squares', s.squares, 2);
  const n = labels * width;
  const moment = (name: string, array: Floats | null, used: boolean, size: number) =>
    used ? f32(op, name, array ?? NO_FLOATS, size) : null;
  // Plain SGD runs without m, momentum with it.
  const usesM = rule?.kind === 'adam' || (rule?.kind === 'sgd' && weightMoments.m !== null);
  const usesBiasM = rule?.kind === 'adam' || (rule?.kind === 'sgd' && biasMoments.m !== null);
  const usesV = rule?.kind === 'adam' || rule?.kind === 'adagrad';
  return [
    batch,
    inputs,
    labels,
    s.begin,
    s.end,
    s.chunk,
    f32(op, 'h', s.h, batch * inputs),
    f32OrNull(op, 'dh', s.dh, batch * inputs),
    positives.count,
    positives.label,
    positives.row,
    s.norms?.pass === 'sum' ? LOG_SUM : LOSSES[s.loss],
    s.gradScale,
    s.backward,
    rule === null ? null : packRule(rule),
    update.updateScale,
    f32OrNull(op, 'weights', weights, n),
    moment('weightMoments.m', weightMoments.m, usesM, n),
    moment('weightMoments.v', weightMoments.v, usesV, n),
    f32OrNull(op, 'dWeights', update.dWeights, n),
    f32(op, 'bias', bias, labels),
    moment('biasMoments.m', biasMoments.m, usesBiasM, labels),
    moment('biasMoments.v', biasMoments.v, usesV, labels),
    f32OrNull(op, 'dBias', update.dBias, labels),
    s.squares,
    f32(op, 'workspace', s.workspace, 0),
    s.workspace.length,
    lossOut,
    s.norms === null ? null : f32(op, 'norms', s.norms.values, 2 * batch),
  ];
}

const NO_FLOATS = new Float32Array(0);

/** kind, rate, momentum, nesterov, beta1, beta2, eps, weightDecay, decoupled, correction1, correction2. */
export function packRule(rule: UpdateRule): Float64Array {
  const { rate, weightDecay } = rule;
  switch (rule.kind) {
    case 'sgd':
      return Float64Array.of(0, rate, rule.momentum, rule.nesterov ? 1 : 0, 0, 0, 0, weightDecay, 0, 1, 1);
    case 'adam': {
      const { beta1, beta2, eps, decoupled, correction1, correction2 } = rule;
      const flag = decoupled ? 1 : 0;
      return Float64Array.of(1, rate, 0, 0, beta1, beta2, eps, weightDecay, flag, correction1, correction2);
    }
    case 'adagrad':
      return Float64Array.of(2, rate, 0, 0, 0, 0, rule.eps, weightDecay, 0, 1, 1);
  }
}
