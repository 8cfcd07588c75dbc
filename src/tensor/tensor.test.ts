import { describe, expect, it } from 'vitest';
import { referenceKernels } from '../kernels/reference/index.js';
import { Device } from './device.js';
import { shapeText, sizeOf } from './tensor.js';

const device = () => new Device(referenceKernels('float64'));

describe('Tensor', () => {
  it('names its shape and size', () => {
    expect(sizeOf([2, 3, 4])).toBe(24);
    expect(sizeOf([])).toBe(1);
    expect(sizeOf([5, 0])).toBe(0);
    expect(shapeText([2, 3])).toBe('[2, 3]');
  });

  it('reads a copy, later writes do not change it', async () => {
    const t = device().fromArray([2], [1, 2]);
    const copy = await t.read();
    t.data[0] = 9;
    expect(Array.from(copy)).toEqual([1, 2]);
  });

  it('has an item when it is one number, and refuses otherwise', async () => {
    const d = device();
    expect(await d.fromArray([1], [7]).item()).toBe(7);
    await expect(d.fromArray([2], [7, 8]).item()).rejects.toThrow(/TENSOR_NOT_SCALAR/);
  });

  it('is void after its release and after the step, and says what to do', () => {
    const d = device();
    const released = d.fromArray([2], [1, 2]);
    d.release(released);
    expect(() => released.data).toThrow(/TENSOR_RELEASED.*before the next step/);
    const old = d.temporary('activations', [2]);
    d.arena.reset();
    expect(() => old.data).toThrow(/\[2\] tensor belongs to a step that is over/);
  });
});

describe('Device', () => {
  it('makes persistent tensors that outlive steps, zeroed, and cannot be released as temporaries', () => {
    const d = device();
    const t = d.persistent('weights', [3]);
    expect(Array.from(t.data)).toEqual([0, 0, 0]);
    d.arena.reset();
    d.release(t);
    expect(t.data).toHaveLength(3);
    expect(d.ledger.live().weights).toBe(24);
  });

  it('refuses values that do not fill the shape: the rest would be bytes of an older step', () => {
    expect(() => device().fromArray([2, 2], [1, 2, 3])).toThrow(/expected 4 numbers.*received 3/);
    expect(() => device().fromArray([2], [1, 2, 3])).toThrow(/SHAPE_MISMATCH/);
  });

  it('has a dry twin that answers questions of size, computes nothing and holds nothing', () => {
    const wet = device();
    const dry = wet.dryTwin();
    expect(dry.dry).toBe(true);
    expect(dry.kernels.name).toBe(wet.kernels.name);
    const shape = { batch: 3, inputs: 4, labels: 5, chunk: 2, fanIn: 0 };
    expect(dry.kernels.topKWorkspace(shape, 2)).toBe(wet.kernels.topKWorkspace(shape, 2));
    const x = dry.fromArray([2], [1, 2]);
    expect(x.data).toHaveLength(0);
    dry.persistent('weights', [1000]);
    const out = Float64Array.of(5);
    dry.kernels.scale(1, 2, out, out);
    expect(out[0]).toBe(5);
    expect(dry.ledger.live()).toMatchObject({ weights: 8000, activations: 64 });
    expect(wet.ledger.liveBytes).toBe(0);
  });

  it('can be counted under one tag: same memory, same ledger, other books', () => {
    const d = device();
    const part = d.countedAs('auxiliary');
    const held = part.allocator.allocate('weights', 'float64', 4);
    const t = part.temporary('gradients', [8]);
    expect([t.tag, part.persistent('weights', [1]).tag]).toEqual(['auxiliary', 'auxiliary']);
    expect(d.ledger.live()).toMatchObject({ auxiliary: 32 + 64 + 8, weights: 0, gradients: 0 });
    part.allocator.release('weights', held);
    d.arena.reset();
    expect(() => t.data).toThrow(/TENSOR_RELEASED/);
    expect(d.ledger.liveBytes).toBe(8);
    expect(d.dryTwin().countedAs('auxiliary').persistent('weights', [9]).data).toHaveLength(0);
  });
});
