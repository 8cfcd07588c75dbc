import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { choose, dominates, frontierOf, furthest, measured } from './frontier.js';
import { eta, nextTrial, type Outcome, rungSizes } from './halving.js';
import type { TrialRecord } from './journal.js';

/** A search of `count` trials in which draws score as `worth` says, on any rung. */
function search(count: number, rungs: number, worth: (draw: number) => number | null): Outcome[] {
  const done: Outcome[] = [];
  while (done.length < count) {
    const place = nextTrial(done, rungs);
    done.push({ ...place, score: worth(place.draw) });
  }
  return done;
}

describe('nextTrial', () => {
  it('begins with the default settings, follows the best third up at once, and brings the default along', () => {
    const places = search(9, 3, (draw) => draw).map(({ draw, rung }) => [draw, rung]);
    expect(places).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
      [2, 1],
      [0, 1],
      [3, 0],
      [4, 0],
      [5, 0],
      [5, 1],
    ]);
  });

  const worths = fc.array(fc.option(fc.integer({ min: 0, max: 20 }), { nil: null }), {
    minLength: 80,
    maxLength: 80,
  });

  it('tries nothing twice, promotes none that failed, and besides the default at most a third of a rung', () => {
    fc.assert(
      fc.property(worths, fc.integer({ min: 1, max: 4 }), (worth, rungs) => {
        const done = search(40, rungs, (draw) => (draw === 0 ? 5 : worth[draw]));
        expect(new Set(done.map(({ draw, rung }) => `${draw} ${rung}`)).size).toBe(done.length);
        for (let rung = 1; rung < rungs; rung++) {
          const below = done.filter((one) => one.rung === rung - 1);
          const here = done.filter((one) => one.rung === rung);
          expect(here.filter(({ draw }) => draw !== 0).length).toBeLessThanOrEqual(below.length / eta);
          for (const { draw } of here) expect(below.find((one) => one.draw === draw)?.score).not.toBeNull();
          expect(here.length === 0 || here.length === 1 || here.some(({ draw }) => draw === 0)).toBe(true);
        }
      }),
    );
  });

  it('goes on from any cut as though there had been none', () => {
    const whole = search(30, 3, (draw) => (7 * draw) % 11);
    for (let cut = 0; cut < whole.length; cut++) {
      expect(nextTrial(whole.slice(0, cut), 3)).toEqual({ draw: whole[cut].draw, rung: whole[cut].rung });
    }
  });

  it('has rungs of thirds, none below the least, the last of all rows', () => {
    expect(rungSizes(68_135, 4000)).toEqual([7571, 22_712, 68_135]);
    expect(rungSizes(100, 4000)).toEqual([100]);
    expect(rungSizes(1e9, 4000)).toHaveLength(5);
  });
});

const estimate = (value: number) => ({ value, low: value - 0.1, high: value + 0.1 });
const record = (
  trial: number,
  about: { p1: number | null; bytes: number; seconds: number; rung?: number; draw?: number },
) =>
  ({
    ...{
      trial,
      draw: about.draw ?? trial,
      rung: about.rung ?? 0,
      bytes: about.bytes,
      secondsPerEpoch: about.seconds,
    },
    score: about.p1 === null ? null : { p1: estimate(about.p1), p3: 0, p5: 0, epoch: 1 },
  }) as TrialRecord;
const level = fc.integer({ min: 0, max: 5 });
const records = fc
  .array(
    fc.record({
      p1: fc.option(level, { nil: null }),
      bytes: level,
      seconds: level,
      rung: level,
      draw: level,
    }),
    {
      maxLength: 30,
    },
  )
  .map((all) => all.map((about, trial) => record(trial, about)));

describe('frontierOf', () => {
  it('has no point that another dominates, and every other point is dominated by one of it', () => {
    fc.assert(
      fc.property(records, (all) => {
        const frontier = frontierOf(all);
        for (const one of furthest(all)) {
          const beaten = furthest(all).some((other) => dominates(measured(other), measured(one)));
          expect(frontier.includes(one)).toBe(!beaten);
          if (beaten) expect(frontier.some((other) => dominates(measured(other), measured(one)))).toBe(true);
        }
      }),
    );
  });

  it('the choice is the most accurate of those with the most rows, or the smallest that is about as good', () => {
    const all = [
      record(0, { p1: 0.9, bytes: 1, seconds: 1 }),
      record(1, { p1: 0.7, bytes: 9, seconds: 1, rung: 1 }),
      record(2, { p1: 0.65, bytes: 5, seconds: 1, rung: 1 }),
      record(3, { p1: 0.5, bytes: 2, seconds: 1, rung: 1 }),
      record(4, { p1: null, bytes: 1, seconds: 1, rung: 2 }),
    ];
    expect(choose(all, 'accuracy')?.trial).toBe(1);
    expect(choose(all, 'memory')?.trial).toBe(2);
    expect(choose([all[4]], 'accuracy')).toBeNull();
  });
});
