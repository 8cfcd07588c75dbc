/**
 * The oracle of output layers: one dense float64 matrix W [L, d], zero where the layer has no connection,
 * z = h W^T + b, and every formula written out plainly. It learns its start from `connections`, nothing else.
 * Only sums over j leave the zeros out, so that layers of 66,000 inputs can be checked.
 */
import { expect } from 'vitest';
import type { LabelLoss, Positives } from '../kernels/face.js';
import type { OptimizerSpec } from '../optim/rules.js';
import type { OutputLayer } from './layer.js';

export interface OracleStep {
  readonly loss: number;
  /** [B, d] */
  readonly dh: Float64Array;
  /** [L, d], zero where there is no connection. */
  readonly dWeights: Float64Array;
  /** [L] */
  readonly dBias: Float64Array;
  readonly squares: number;
}

export class DenseOracle {
  steps = 0;
  labels = 0;
  /** [L, d] */
  weights = new Float64Array(0);
  /** Of every label, the inputs j that it is connected to. */
  #columns: Uint32Array[] = [];
  bias = new Float64Array(0);
  #m = new Float64Array(0);
  #v = new Float64Array(0);
  #biasM = new Float64Array(0);
  #biasV = new Float64Array(0);

  constructor(
    layer: OutputLayer,
    readonly optimizer: OptimizerSpec,
    readonly inputs = layer.inputs,
    readonly loss = layer.loss as LabelLoss,
  ) {
    this.resize(layer, new Int32Array(layer.labels).fill(-1));
  }

  /** z [B, L] */
  logits(h: Float64Array): Float64Array {
    const { inputs, labels } = this;
    const batch = h.length / inputs;
    const z = new Float64Array(batch * labels);
    for (let b = 0; b < batch; b++) {
      for (let l = 0; l < labels; l++) {
        let sum = this.bias[l];
        for (const j of this.#columns[l]) sum += this.weights[l * inputs + j] * h[b * inputs + j];
        z[b * labels + l] = sum;
      }
    }
    return z;
  }

  /** Mean over examples of the loss summed over labels, and G = dLoss/dz [B, L] without the mean. */
  lossOf(h: Float64Array, positives: Positives): { loss: number; G: Float64Array } {
    const { labels } = this;
    const batch = h.length / this.inputs;
    const y = new Uint8Array(batch * labels);
    for (let i = 0; i < positives.count; i++) y[positives.row[i] * labels + positives.label[i]] = 1;
    if (this.loss === 'softmax') return this.#softmax(this.logits(h), y, batch);
    let loss = 0;
    const G = this.logits(h).map((z, i) => {
      if (this.loss === 'bce') {
        loss += Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - y[i] * z;
        return 1 / (1 + Math.exp(-z)) - y[i];
      }
      const s = 2 * y[i] - 1;
      loss += Math.max(0, 1 - s * z) ** 2;
      return -2 * s * Math.max(0, 1 - s * z);
    });
    return { loss: loss / Math.max(1, batch), G };
  }

  /** Of every row, the positives share a mass of one; rows without any have neither loss nor gradient. */
  #softmax(logits: Float64Array, y: Uint8Array, batch: number): { loss: number; G: Float64Array } {
    const { labels } = this;
    const G = new Float64Array(batch * labels);
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      const z = logits.subarray(b * labels, (b + 1) * labels);
      const own = y.subarray(b * labels, (b + 1) * labels);
      const positives = own.reduce((sum, x) => sum + x, 0);
      if (positives === 0) continue;
      const max = z.reduce((most, x) => Math.max(most, x), -Infinity);
      const sum = z.reduce((all, x) => all + Math.exp(x - max), 0);
      for (let l = 0; l < labels; l++) {
        const p = Math.exp(z[l] - max) / sum;
        if (own[l] === 1) loss -= Math.log(p) / positives;
        G[b * labels + l] = p - own[l] / positives;
      }
    }
    return { loss: loss / Math.max(1, batch), G };
  }

  step(
    h: Float64Array,
    positives: Positives,
    options: { rate: number; scale?: number; update?: boolean; updateScale?: number },
  ): OracleStep {
    const { inputs, labels } = this;
    const batch = h.length / inputs;
    const { loss, G } = this.lossOf(h, positives);
    const dh = new Float64Array(batch * inputs);
    const dWeights = new Float64Array(labels * inputs);
    const dBias = new Float64Array(labels);
    for (let b = 0; b < batch; b++) {
      for (let l = 0; l < labels; l++) {
        const g = (G[b * labels + l] * (options.scale ?? 1)) / batch;
        dBias[l] += g;
        for (const j of this.#columns[l]) {
          dh[b * inputs + j] += g * this.weights[l * inputs + j];
          dWeights[l * inputs + j] += g * h[b * inputs + j];
        }
      }
    }
    let squares = 0;
    for (const gradient of [dWeights, dBias]) for (const g of gradient) squares += g * g;
    if (options.update ?? true) this.#update(dWeights, dBias, options.rate, options.updateScale ?? 1);
    return { loss, dh, dWeights, dBias, squares };
  }

  #update(dWeights: Float64Array, dBias: Float64Array, rate: number, scale: number) {
    this.steps++;
    const decay = this.optimizer.weightDecay ?? 0;
    for (let l = 0; l < dBias.length; l++) {
      for (const j of this.#columns[l]) {
        const i = l * this.inputs + j;
        this.#move(this.weights, this.#m, this.#v, i, scale * dWeights[i], rate, decay);
      }
      this.#move(this.bias, this.#biasM, this.#biasV, l, scale * dBias[l], rate, 0);
    }
  }

  #move(
    w: Float64Array,
    m: Float64Array,
    v: Float64Array,
    i: number,
    g: number,
    rate: number,
    decay: number,
  ) {
    const spec = this.optimizer;
    switch (spec.kind) {
      case 'sgd': {
        const momentum = spec.momentum ?? 0;
        g += decay * w[i];
        m[i] = momentum * m[i] + g;
        w[i] -= rate * (spec.nesterov ? g + momentum * m[i] : m[i]);
        return;
      }
      case 'adagrad':
        g += decay * w[i];
        v[i] += g * g;
        w[i] -= (rate * g) / (Math.sqrt(v[i]) + (spec.eps ?? 1e-10));
        return;
      default: {
        const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8 } = spec;
        if (spec.kind === 'adamw') w[i] -= rate * decay * w[i];
        else g += decay * w[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        const mHat = m[i] / (1 - beta1 ** this.steps);
        const vHat = v[i] / (1 - beta2 ** this.steps);
        w[i] -= (rate * mHat) / (Math.sqrt(vHat) + eps);
      }
    }
  }

  /** After a rewiring: connections that are gone or start anew at 0 lose weight and moments; no other moved. */
  rewired(layer: OutputLayer, tolerance: number) {
    for (let l = 0; l < this.labels; l++) {
      const at = (j: number) => l * this.inputs + j;
      const own = layer.connections(l);
      const before = new Set(this.#columns[l]);
      this.#columns[l] = own.inputs;
      for (const [k, j] of own.inputs.entries()) {
        if (before.delete(j) && own.weights[k] !== 0) {
          expect(Math.abs(own.weights[k] - this.weights[at(j)])).toBeLessThanOrEqual(tolerance);
        } else {
          expect(own.weights[k]).toBe(0);
          this.#forget(at(j));
        }
      }
      for (const j of before) this.#forget(at(j));
    }
  }

  #forget(i: number) {
    this.weights[i] = 0;
    this.#m[i] = 0;
    this.#v[i] = 0;
  }

  /** New label j continues old label map[j]; labels without a past are read from the layer. */
  resize(layer: OutputLayer, map: Int32Array) {
    const { inputs } = this;
    const rows = (old: Float64Array, width: number): Float64Array<ArrayBuffer> => {
      const next = new Float64Array(map.length * width);
      for (const [j, from] of map.entries()) {
        if (from >= 0) next.set(old.subarray(from * width, (from + 1) * width), j * width);
      }
      return next;
    };
    this.weights = rows(this.weights, inputs);
    this.#m = rows(this.#m, inputs);
    this.#v = rows(this.#v, inputs);
    this.bias = rows(this.bias, 1);
    this.#biasM = rows(this.#biasM, 1);
    this.#biasV = rows(this.#biasV, 1);
    this.#columns = Array.from(map, (from) => (from < 0 ? new Uint32Array(0) : this.#columns[from]));
    this.labels = map.length;
    for (const [j, from] of map.entries()) {
      if (from >= 0) continue;
      const own = layer.connections(j);
      this.#columns[j] = own.inputs;
      for (const [k, column] of own.inputs.entries()) this.weights[j * inputs + column] = own.weights[k];
      this.bias[j] = own.bias;
    }
  }
}
