import type { Floats } from '../../face.js';
import type {
  GruCellArgs,
  GruCellBackwardArgs,
  LstmCellArgs,
  LstmCellBackwardArgs,
} from '../../face-networks.js';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export function tanh(n: number, x: Floats, y: Floats): void {
  for (let i = 0; i < n; i++) y[i] = Math.tanh(x[i]);
}

export function tanhBackward(n: number, y: Floats, dy: Floats, dx: Floats): void {
  for (let i = 0; i < n; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

/** c = f c_before + i g, h = o tanh(c) (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000). */
export function lstmCell({ batch, hidden, gates, cBefore, c, h }: LstmCellArgs): void {
  for (let at = 0; at < batch * hidden; at++) {
    const [i, f, g, o] = places(at, hidden, 4);
    gates[i] = sigmoid(gates[i]);
    gates[f] = sigmoid(gates[f]);
    gates[g] = Math.tanh(gates[g]);
    gates[o] = sigmoid(gates[o]);
    const state = gates[f] * cBefore[at] + gates[i] * gates[g];
    c[at] = state;
    h[at] = gates[o] * Math.tanh(state);
  }
}

export function lstmCellBackward(args: LstmCellBackwardArgs): void {
  const { batch, hidden, gates, cBefore, c, dh, dhNext, dc, dgates } = args;
  for (let at = 0; at < batch * hidden; at++) {
    const [i, f, g, o] = places(at, hidden, 4);
    const [vi, vf, vg, vo] = [gates[i], gates[f], gates[g], gates[o]];
    const squashed = Math.tanh(c[at]);
    const d = dh[at] + (dhNext?.[at] ?? 0);
    const ofState = dc[at] + d * vo * (1 - squashed * squashed);
    dgates[i] = ofState * vg * vi * (1 - vi);
    dgates[f] = ofState * cBefore[at] * vf * (1 - vf);
    dgates[g] = ofState * vi * (1 - vg * vg);
    dgates[o] = d * squashed * vo * (1 - vo);
    dc[at] = ofState * vf;
  }
}

/** n = tanh(x_n + r h_n), h = (1 - z) n + z h_before (Cho et al. 2014, r after the product). */
export function gruCell({ batch, hidden, gates, fromH, hBefore, h }: GruCellArgs): void {
  for (let at = 0; at < batch * hidden; at++) {
    const [r, z, n] = places(at, hidden, 3);
    gates[r] = sigmoid(gates[r] + fromH[r]);
    gates[z] = sigmoid(gates[z] + fromH[z]);
    gates[n] = Math.tanh(gates[n] + gates[r] * fromH[n]);
    h[at] = (1 - gates[z]) * gates[n] + gates[z] * hBefore[at];
  }
}

export function gruCellBackward(args: GruCellBackwardArgs): void {
  const { batch, hidden, gates, fromH, hBefore, dh, dhNext, dgates, dfromH, dhBefore } = args;
  for (let at = 0; at < batch * hidden; at++) {
    const [r, z, n] = places(at, hidden, 3);
    const [vr, vz, vn, hn] = [gates[r], gates[z], gates[n], fromH[n]];
    const d = dh[at] + (dhNext?.[at] ?? 0);
    const ofFresh = d * (1 - vz) * (1 - vn * vn);
    const ofReset = ofFresh * hn * vr * (1 - vr);
    const ofKeep = d * (hBefore[at] - vn) * vz * (1 - vz);
    dgates[r] = ofReset;
    dgates[z] = ofKeep;
    dgates[n] = ofFresh;
    dfromH[r] = ofReset;
    dfromH[z] = ofKeep;
    dfromH[n] = ofFresh * vr;
    dhBefore[at] = d * vz;
  }
}

/** Where the gates of element `at` of [batch, hidden] stand in [batch, count, hidden]. */
function places(at: number, hidden: number, count: number): number[] {
  const first = Math.floor(at / hidden) * count * hidden + (at % hidden);
  return Array.from({ length: count }, (_, k) => first + k * hidden);
}
