import { describe, expect, it } from 'vitest';
import { Allocator, bytesPerElement, type Dtype, MemoryLedger, memoryTags, viewOf } from './memory.js';
import { MemoryTimeline } from './timeline.js';

const total = (bytes: Record<string, number>) => Object.values(bytes).reduce((a, b) => a + b, 0);

describe('MemoryLedger', () => {
  it('keeps the live bytes of a tag, their sum, and the moment of the peak', () => {
    const ledger = new MemoryLedger();
    ledger.acquire('weights', 100);
    ledger.acquire('workspace', 50);
    ledger.release('workspace', 50);
    ledger.acquire('gradients', 30);
    expect(ledger.live()).toMatchObject({ weights: 100, workspace: 0, gradients: 30 });
    expect(ledger.liveBytes).toBe(130);
    expect(ledger.peakBytes).toBe(150);
    expect(ledger.atPeak()).toMatchObject({ weights: 100, workspace: 50, gradients: 0 });
    expect(ledger.peakByTag()).toMatchObject({ weights: 100, workspace: 50, gradients: 30 });
  });

  it('adds up: the tags at the peak are the peak, and the sum of the worst moments is no less', () => {
    const ledger = new MemoryLedger();
    let held: [(typeof memoryTags)[number], number][] = [];
    for (let i = 0; i < 200; i++) {
      const tag = memoryTags[(i * 5) % memoryTags.length];
      const bytes = ((i * 37) % 91) + 1;
      ledger.acquire(tag, bytes);
      held.push([tag, bytes]);
      if (i % 7 === 6) {
        for (const [t, b] of held.slice(0, 5)) ledger.release(t, b);
        held = held.slice(5);
      }
      expect(total(ledger.live())).toBe(ledger.liveBytes);
      expect(ledger.liveBytes).toBe(held.reduce((a, [, b]) => a + b, 0));
    }
    expect(total(ledger.atPeak())).toBe(ledger.peakBytes);
    expect(total(ledger.peakByTag())).toBeGreaterThanOrEqual(ledger.peakBytes);
  });

  it('hands out copies: a reader cannot change the books', () => {
    const ledger = new MemoryLedger();
    ledger.acquire('data', 8);
    ledger.live().data = 0;
    ledger.atPeak().data = 0;
    expect(ledger.live().data).toBe(8);
    expect(ledger.atPeak().data).toBe(8);
  });
});

describe('Allocator', () => {
  const dtypes: Dtype[] = ['float32', 'float64', 'uint16', 'uint32', 'int32'];

  it.each(dtypes)('accounts %s arrays to the byte, zeroed and shared', (dtype) => {
    const ledger = new MemoryLedger();
    const array = new Allocator(ledger).allocate('weights', dtype, 7);
    expect(array).toHaveLength(7);
    expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(array.every((x) => x === 0)).toBe(true);
    expect(ledger.live().weights).toBe(7 * bytesPerElement(dtype));
  });

  it('counts the same bytes dry, and holds none', () => {
    const wet = new MemoryLedger();
    const dry = new MemoryLedger();
    for (const [ledger, allocator] of [
      [wet, new Allocator(wet)],
      [dry, new Allocator(dry, true)],
    ] as const) {
      allocator.allocate('optimizer', 'float64', 9);
      const array = allocator.allocate('indices', 'uint16', 5);
      expect(array.length).toBe(ledger === wet ? 5 : 0);
    }
    expect(dry.live()).toEqual(wet.live());
  });

  it('refuses what the machine cannot hold, keeps its books right, and says what to lower', () => {
    const ledger = new MemoryLedger();
    const allocator = new Allocator(ledger);
    expect(() => allocator.allocate('weights', 'float64', 2 ** 50)).toThrow(/OUT_OF_MEMORY.*Hint: lower/);
    expect(ledger.liveBytes).toBe(0);
  });

  it.each([false, true])('releases what it acquired, once (dry: %s)', (dry) => {
    const ledger = new MemoryLedger();
    const allocator = new Allocator(ledger, dry);
    const array = allocator.allocate('data', 'float32', 10);
    allocator.release('data', array);
    expect(ledger.liveBytes).toBe(0);
    expect(ledger.peakBytes).toBe(40);
    expect(() => allocator.release('data', array)).toThrow(/NOT_ALLOCATED/);
    expect(ledger.liveBytes).toBe(0);
  });
});

describe('MemoryTimeline', () => {
  it('knows the peak of timelines of any length', async () => {
    const ledger = new MemoryLedger();
    const { timeline } = await MemoryTimeline.record(ledger, () => {
      for (let i = 0; i < 100_000; i++) {
        ledger.acquire('data', i === 70_000 ? 9 : 1);
        ledger.release('data', i === 70_000 ? 9 : 1);
      }
    });
    expect(timeline.points.length).toBeGreaterThan(200_000);
    expect(timeline.peakBytes).toBe(9);
    expect(timeline.peakAt).toBe(140_001);
  });
});

describe('viewOf', () => {
  it('sees the bytes of the buffer at an offset', () => {
    const buffer = new ArrayBuffer(64);
    viewOf('uint32', buffer, 16, 2).set([7, 8]);
    expect(new Uint32Array(buffer)[4]).toBe(7);
    expect(viewOf('uint16', buffer, 16, 1)[0]).toBe(7);
  });
});
