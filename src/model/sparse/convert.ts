/** A trained network as a program: modules become steps, normalisations are folded into the convolutions before them. */
import { EspalierError } from '../../errors.js';
import type { Activation, Floats } from '../../kernels/face.js';
import { AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d } from '../../nn/image-layers.js';
import { ResidualBlock } from '../../nn/image-models.js';
import { Dropout, Linear, ReLU, Sequential } from '../../nn/layers.js';
import { LeNet300100 } from '../../nn/lenet.js';
import type { Module } from '../../nn/module.js';
import { Flatten, GlobalAvgPool } from '../../nn/network-layers.js';
import { sparseRows } from '../../nn/sparse-linear.js';
import {
  type Conv2dStep,
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
  return { input, steps: stepsOf([['', learner]], weights), weights };
}

function stepsOf(modules: readonly Named[], weights: Weights): Step[] {
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
  return [[name, module]];
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
function settled(name: string, { weight }: Linear | Conv2d): Floats {
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
      'linear and convolutional layers with or without relu, batch norms after convolutions, pools, residual blocks',
    received,
  });
}
