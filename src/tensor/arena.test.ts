import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Block, StepArena } from './arena.js';
import { MemoryLedger, type MemoryTag } from './memory.js';

/** `take` a length, `release` the live block at a fraction of the list, or empty the arena. */
type Action = { take: number; tag: MemoryTag } | { release: number } | 'reset';

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      take: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3000 })),
      tag: fc.constantFrom<MemoryTag>('activations', 'gradients', 'workspace'),
    }),
  },
  { weight: 5, arbitrary: fc.record({ release: fc.double({ min: 0, max: 0.999, noNaN: true }) }) },
  { weight: 1, arbitrary: fc.constant<Action>('reset') },
);
const actions = fc.array(action, { minLength: 1, maxLength: 120 });

/** Plays the actions, showing the live blocks after each. */
function play(arena: StepArena, list: readonly Action[], after: (live: readonly Block[]) => void = () => {}) {
  let live: Block[] = [];
  for (const step of list) {
    if (step === 'reset') {
      arena.reset();
      live = [];
    } else if ('take' in step) live.push(arena.take(step.tag, 'float32', step.take).block);
    else if (live.length > 0) arena.release(live.splice(Math.floor(step.release * live.length), 1)[0]);
    after(live);
  }
}

describe('StepArena', () => {
  it('never lets live blocks overlap, and its ledger is the sum of the live blocks', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const ledger = new MemoryLedger();
        play(new StepArena(ledger), list, (live) => {
          const sorted = live.toSorted((a, b) => a.region - b.region || a.offset - b.offset);
          for (const [i, block] of sorted.entries()) {
            expect(block.live).toBe(true);
            expect(block.offset % 64).toBe(0);
            const next = sorted[i + 1];
            if (next?.region === block.region) {
              expect(block.offset + block.bytes).toBeLessThanOrEqual(next.offset);
            }
          }
          expect(ledger.liveBytes).toBe(live.reduce((sum, block) => sum + block.bytes, 0));
        });
      }),
      { numRuns: 150, seed: 1 },
    );
  });

  it('merges what comes back: after all releases, in any order, one block fills the region', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 30 }),
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (lengths, picks) => {
          const arena = new StepArena(new MemoryLedger());
          const padded = lengths.map((n) => Math.ceil((4 * n) / 64) * 64);
          const bytes = padded.reduce((a, b) => a + b, 0);
          arena.reserve(bytes);
          const live = lengths.map((n) => arena.take('activations', 'float32', n).block);
          while (live.length > 0) {
            arena.release(live.splice(Math.floor(picks.next().value * live.length), 1)[0]);
          }
          expect(arena.take('activations', 'float32', bytes / 4).block).toMatchObject({
            region: 0,
            offset: 0,
          });
          expect(arena.growths).toBe(0);
        },
      ),
      { numRuns: 100, seed: 2 },
    );
  });

  it('plans exactly: a region of the dry high water serves the same actions without growing, to the last byte', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const dry = new StepArena(new MemoryLedger(), true);
        const places: string[] = [];
        play(dry, list, (live) => places.push(JSON.stringify(live)));
        const real = new StepArena(new MemoryLedger());
        real.reserve(dry.highWaterBytes);
        let i = 0;
        play(real, list, (live) => expect(JSON.stringify(live)).toBe(places[i++]));
        expect(real.growths).toBe(0);
        expect(real.highWaterBytes).toBe(dry.highWaterBytes);
        expect(real.reservedBytes).toBe(dry.reservedBytes);
      }),
      { numRuns: 300, seed: 3 },
    );
  });

  it('counts the same ledger dry as real', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const dry = new MemoryLedger();
        const real = new MemoryLedger();
        play(new StepArena(dry, true), list);
        play(new StepArena(real), list);
        expect(dry.atPeak()).toEqual(real.atPeak());
      }),
      { numRuns: 50, seed: 4 },
    );
  });

  it('grows when a step asks for more than was reserved, says so, and keeps the room for the next step', () => {
    const arena = new StepArena(new MemoryLedger());
    arena.reserve(1024);
    arena.take('activations', 'float32', 256);
    expect(arena.growths).toBe(0);
    const { block, data } = arena.take('activations', 'float32', 1);
    expect(block.region).toBe(1);
    expect(data).toHaveLength(1);
    expect(arena.growths).toBe(1);
    arena.reset();
    arena.take('activations', 'float32', 256);
    arena.take('activations', 'float32', 1);
    expect(arena.growths).toBe(1);
  });

  it('opens a first region by itself, which is no growth', () => {
    const arena = new StepArena(new MemoryLedger());
    arena.take('activations', 'float32', 3);
    expect(arena.growths).toBe(0);
    expect(arena.reservedBytes).toBe(1 << 20);
  });

  it('is reserved before a step, never in the middle of one', () => {
    const arena = new StepArena(new MemoryLedger());
    const { block } = arena.take('activations', 'float32', 3);
    expect(() => arena.reserve(1 << 21)).toThrow(/ARENA_BUSY/);
    arena.release(block);
    arena.reserve(1 << 21);
    expect(arena.reservedBytes).toBe(1 << 21);
    arena.reserve(64);
    expect(arena.reservedBytes).toBe(1 << 21);
  });

  it('releases a block once, however often it is told', () => {
    const ledger = new MemoryLedger();
    const arena = new StepArena(ledger);
    const first = arena.take('activations', 'float32', 16).block;
    arena.release(first);
    const second = arena.take('activations', 'float32', 16).block;
    arena.release(first);
    expect(ledger.liveBytes).toBe(64);
    expect(second.live).toBe(true);
    arena.reset();
    arena.release(second);
    expect(ledger.liveBytes).toBe(0);
  });

  it('gives arrays over one buffer, aligned to 64 bytes, of the dtype asked for', () => {
    const arena = new StepArena(new MemoryLedger());
    const a = arena.take('activations', 'float64', 3).data;
    const b = arena.take('activations', 'uint32', 5).data;
    expect(a).toBeInstanceOf(Float64Array);
    expect(b).toBeInstanceOf(Uint32Array);
    expect(b.buffer).toBe(a.buffer);
    expect(b.byteOffset).toBe(64);
  });

  it('refuses a region that the machine cannot hold', () => {
    expect(() => new StepArena(new MemoryLedger()).reserve(2 ** 52)).toThrow(/OUT_OF_MEMORY/);
  });
});
