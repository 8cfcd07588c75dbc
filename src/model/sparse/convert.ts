/** A trained network as a program: modules become steps, normalisations are folded into the convolutions before them. */
import { EspalierError } from '../../errors.js';
import type { Activation, Floats } from '../../kernels/face.js';
import { AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d } from '../../nn/image-layers.js';
import { ResidualBlock } from '../../nn/image-models.js';
import { Dropout, EmbeddingBag, GELU, Linear, ReLU, Sequential } from '../../nn/layers.js';
import { LeNet300100 } from '../../nn/lenet.js';
import type { Module } from '../../nn/module.js';
import { Affine, Flatten, GlobalAvgPool, Residual, Transposed } from '../../nn/network-layers.js';
import { CharacterModel, GRU, LSTM, RNN } from '../../nn/recurrent-layers.js';
import { Patches, ResMLP } from '../../nn/res-mlp.js';
import { MeanRows } from '../../nn/sparse-layers.js';
import { sparseRows } from '../../nn/sparse-linear.js';
import {
  type Conv2dStep,
  type LinearStep,
  matrixOf,
  type PlainStep,
  type Program,
  type Step,
  type StepWeights,
} from './program.js';

type Weights = Map<string, StepWeights>;
type Named = readonly [name: string, module: object];

/**
 * What `learner` computes in evaluation, with the weights it has now.
 * @throws EspalierError `EXPORT_UNSUPPORTED`, `EXPORT_UNFINISHED`
 */
export function programOf(learner: object, input: readonly number[]): Program {
  const weights: Weights = new Map();
  const streams = learner instanceof CharacterModel ? learner.streams : 1;
  return { input, steps: stepsOf([['', learner]], weights, streams), weights };
}

function stepsOf(modules: readonly Named[], weights: Weights, streams = 1): Step[] {
  const flat = modules.flatMap(([name, module]) => parts(name, module));
  const steps: Step[] = [];
  for (let i = 0; i < flat.length; i++) {
    const [name, module] = flat[i];
    const next = flat[i + 1]?.[1];
    if (module instanceof Conv2d) {
      const norm = next instanceof BatchNorm2d && module.activation === 'none' ? next : null;
      steps.push(convolution(name, module, norm, weights));
      if (norm !== null) i++;
    } else if (module instanceof ResidualBlock) {
      const of = (...keys: ('first' | 'firstNorm' | 'second' | 'secondNorm')[]) =>
        stepsOf(
          keys.map((key) => [`${name}.${key}`, module[key]]),
          weights,
        ) as PlainStep[];
      const { shortcut } = module;
      const around =
        shortcut === null ? [] : (stepsOf([[`${name}.shortcut`, shortcut]], weights) as PlainStep[]);
      const branch = of('first', 'firstNorm', 'second', 'secondNorm');
      steps.push({ kind: 'residual', branch, shortcut: around }, { kind: 'relu' });
    } else if (module instanceof Residual) {
      const branch = stepsOf([[`${name}.branch`, module.branch]], weights) as PlainStep[];
      steps.push({ kind: 'residual', branch, shortcut: [] });
    } else if (module instanceof RNN || module instanceof LSTM || module instanceof GRU) {
      steps.push(recurrent(name, module, weights, streams));
    } else steps.push(...plainStep(name, module, weights));
  }
  return steps;
}

/** Containers as what they contain. */
function parts(name: string, module: object): Named[] {
  const inside = (key: string) => (name === '' ? key : `${name}.${key}`);
  if (module instanceof Sequential) {
    return (module.layers as readonly Module[]).flatMap((layer, i) => parts(inside(`layers.${i}`), layer));
  }
  if (module instanceof LeNet300100) {
    return (['flatten', 'first', 'second', 'head'] as const).map((key) => [inside(key), module[key]]);
  }
  if (module instanceof ResMLP) {
    const blocks = module.blocks.map((block, i): Named => [inside(`blocks.${i}`), block]);
    const { patches, embed, norm, head } = module;
    const before: Named[] = [
      [inside('patches'), patches],
      [inside('embed'), embed],
    ];
    const after: Named[] = [
      [inside('norm'), norm],
      [inside('mean'), new MeanRows()],
      [inside('head'), head],
    ];
    return [...before, ...blocks, ...after];
  }
  if (module instanceof CharacterModel) {
    const layers = module.layers.map((layer, i): Named => [inside(`layers.${i}`), layer]);
    return [[inside('embedding'), module.embedding], ...layers, [inside('head'), module.head]];
  }
  return [[name, module]];
}

/** A matrix and its bias under a name, as a linear step that others are made of. */
function matrix(
  name: string,
  weight: { readonly shape: readonly number[]; readonly data: Floats },
  bias: { readonly data: Floats } | null,
  weights: Weights,
): LinearStep {
  const [outputs, inputs = 1] = weight.shape;
  const shift = bias === null ? null : (bias.data.slice() as Floats);
  weights.set(name, { weight: sparseRows(outputs, inputs, weight.data), bias: shift });
  return { kind: 'linear', name, inputs, outputs, relu: false, bias: shift !== null };
}

function recurrent(name: string, module: RNN | LSTM | GRU, weights: Weights, streams: number): PlainStep {
  const cell = module instanceof LSTM ? 'lstm' : module instanceof GRU ? 'gru' : 'rnn';
  const { inputWeight, stateWeight, bias } = module;
  for (const weight of [inputWeight, stateWeight]) settled(name, { weight });
  const stateBias = module instanceof GRU ? module.stateBias : null;
  return {
    ...{ kind: 'recurrent', cell, hidden: stateWeight.shape[1], streams },
    input: matrix(`${name}.inputWeight`, inputWeight, bias, weights),
    state: matrix(`${name}.stateWeight`, stateWeight, stateBias, weights),
  };
}

function plainStep(name: string, module: object, weights: Weights): PlainStep[] {
  if (module instanceof Linear) {
    const [outputs, inputs] = module.weight.shape;
    const bias = module.bias === null ? null : (module.bias.data.slice() as Floats);
    weights.set(name, { weight: sparseRows(outputs, inputs, settled(name, module)), bias });
    const relu = rectifies(name, module.activation);
    return [{ kind: 'linear', name, inputs, outputs, relu, bias: bias !== null }];
  }
  if (module instanceof MaxPool2d || module instanceof AvgPool2d) {
    const { kernel, stride, padding } = module;
    return [{ kind: module instanceof MaxPool2d ? 'max-pool' : 'avg-pool', kernel, stride, padding }];
  }
  if (module instanceof Affine) {
    return [{ kind: 'affine', scale: matrix(name, module.weight, module.bias, weights) }];
  }
  if (module instanceof EmbeddingBag && module.bias === null && module.activation === 'none') {
    return [{ kind: 'embedding', table: matrix(name, module.weight, null, weights) }];
  }
  if (module instanceof Transposed) {
    const inner = parts(`${name}.inner`, module.inner).flatMap(([inside, part]) =>
      plainStep(inside, part, weights),
    );
    return [{ kind: 'swap' }, ...inner, { kind: 'swap' }];
  }
  if (module instanceof GELU) return [{ kind: 'gelu' }];
  if (module instanceof Patches) return [{ kind: 'patches', patch: module.patch }];
  if (module instanceof MeanRows) return [{ kind: 'mean-rows' }];
  if (module instanceof Flatten) return [{ kind: 'flatten' }];
  if (module instanceof GlobalAvgPool) return [{ kind: 'global-average' }];
  if (module instanceof ReLU) return [{ kind: 'relu' }];
  if (module instanceof Dropout) return [];
  throw unsupported(name, module.constructor.name);
}

/** scale = gamma / sqrt(var + eps): the weights times it, the bias (bias - mean) scale + beta. */
function convolution(name: string, module: Conv2d, norm: BatchNorm2d | null, weights: Weights): Conv2dStep {
  const [outChannels, perGroup, kernelHeight, kernelWidth] = module.weight.shape;
  const { stride, padding, groups } = module;
  const cols = perGroup * kernelHeight * kernelWidth;
  const w = settled(name, module).slice() as Floats;
  let bias = module.bias === null ? null : (module.bias.data.slice() as Floats);
  if (norm !== null) {
    const before = bias;
    bias = new (w.constructor as Float32ArrayConstructor)(outChannels) as Floats;
    for (let o = 0; o < outChannels; o++) {
      const scale = norm.weight.data[o] / Math.sqrt(norm.runningVar.data[o] + norm.eps);
      for (let i = 0; i < cols; i++) w[o * cols + i] *= scale;
      bias[o] = ((before?.[o] ?? 0) - norm.runningMean.data[o]) * scale + norm.bias.data[o];
    }
  }
  const relu = rectifies(name, norm?.activation ?? module.activation);
  const shape = {
    inChannels: perGroup * groups,
    outChannels,
    kernelHeight,
    kernelWidth,
    stride,
    padding,
    groups,
  };
  const step: Conv2dStep = { kind: 'conv2d', name, ...shape, relu, bias: bias !== null };
  weights.set(name, { weight: sparseRows(...matrixOf(step), w), bias });
  return step;
}

function rectifies(name: string, activation: Activation): boolean {
  if (activation === 'relu' || activation === 'none') return activation === 'relu';
  throw unsupported(name, `activation ${activation}`);
}

/** The weights of a layer, once no method stands behind them any more. */
function settled(name: string, { weight }: Pick<Linear | Conv2d, 'weight'>): Floats {
  if (weight.parametrization === null || weight.parametrization.kind === 'mask') return weight.data;
  throw new EspalierError({
    code: 'EXPORT_UNFINISHED',
    kind: 'usage',
    op: 'sparseNetwork',
    problem: `${weight.parametrization.kind} still stand behind the weights of ${name}`,
    hint: 'call finish() of the method before the export',
  });
}

function unsupported(name: string, received: string): EspalierError {
  return new EspalierError({
    code: 'EXPORT_UNSUPPORTED',
    kind: 'usage',
    op: 'sparseNetwork',
    problem: `the layer ${name === '' ? 'at the top' : name} has no sparse form`,
    expected:
      'linear and convolutional layers with or without relu, batch norms after convolutions, pools, residual blocks, ResMLP, character models',
    received,
  });
}
