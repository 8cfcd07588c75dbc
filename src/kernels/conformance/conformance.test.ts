import { describe, expect, it } from 'vitest';
import type { KernelName, Kernels } from '../face.js';
import { referenceKernels } from '../reference/index.js';
import { allBackends } from './backends.testing.js';
import { type Case, deviations, Lab, type Outputs, roundingOf, sameNumbers } from './case.testing.js';
import { CASES } from './cases.testing.js';
import { BASE } from './output-shape.testing.js';

const oracle = referenceKernels('float64');
const expectations = new Map<Case, Outputs>();

for (const { name, kernels, onOneThread } of await allBackends()) {
  if (typeof kernels === 'string') {
    describe.skip(name, () => it(kernels, () => {}));
    continue;
  }
  describe(name, () => {
    it.runIf(name.startsWith('native'))(
      'has the backward index that the cases with `index` are about',
      () => {
        expect(kernels.fanInIndexLength(BASE)).toBeGreaterThan(0);
      },
    );
    for (const kernel of Object.keys(CASES) as KernelName[]) {
      describe(kernel, () => {
        it.each(CASES[kernel])('$name', (one) => conforms(one, kernels, onOneThread));
      });
    }
  });
}

/** Within the bounds of the oracle; inputs and guards intact; the same bits again, and on one thread. */
function conforms(one: Case, kernels: Kernels, onOneThread: Kernels | undefined): void {
  const outputs = runOnce(one, kernels);
  const bounds = one.bounds?.(roundingOf(kernels), oracle) ?? {};
  expect(deviations(outputs, expected(one), bounds, kernels.precision)).toEqual([]);
  one.law?.(outputs);
  expect(different(outputs, runOnce(one, kernels), []), 'not the same bits twice').toEqual([]);
  if (onOneThread !== undefined) {
    const single = runOnce(one, onOneThread);
    expect(different(outputs, single, one.threadDependent ?? []), 'not the bits of one thread').toEqual([]);
  }
}

function runOnce(one: Case, kernels: Kernels): Outputs {
  const lab = new Lab(kernels.precision);
  const outputs = one.run(kernels, lab);
  expect(lab.verify()).toEqual([]);
  return outputs;
}

function expected(one: Case): Outputs {
  let outputs = expectations.get(one);
  if (outputs === undefined) {
    outputs = runOnce(one, oracle);
    expectations.set(one, outputs);
  }
  return outputs;
}

function different(a: Outputs, b: Outputs, except: readonly string[]): string[] {
  return Object.keys(a).filter((name) => {
    const x = a[name];
    const y = b[name];
    if (except.includes(name)) return false;
    return typeof x === 'number' || typeof y === 'number' ? !Object.is(x, y) : !sameNumbers(x, y);
  });
}
