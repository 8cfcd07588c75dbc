import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Batcher, type BatcherOptions, type Job, type Lane } from './batcher.js';

interface Work extends Job {
  readonly id: number;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const job = (id: number, rows = 1): Work => ({ id, rows });

/** A lane that answers when told to. */
class HandLane implements Lane<Work, string> {
  batches: Work[][] = [];
  #open: (() => void)[] = [];

  run(jobs: readonly Work[]): Promise<(string | Error)[]> {
    this.batches.push([...jobs]);
    return new Promise((resolve) => {
      this.#open.push(() =>
        resolve(jobs.map(({ id }) => (id < 0 ? new Error(`refused ${id}`) : `answer ${id}`))),
      );
    });
  }

  get working(): boolean {
    return this.#open.length > 0;
  }

  async finish(): Promise<void> {
    this.#open.shift()?.();
    await turn();
  }
}

const make = (options: Partial<BatcherOptions> = {}) =>
  new Batcher<Work, string>({ batchRows: 4, queueRows: 8, timeoutMs: 60_000, ...options });

describe('Batcher', () => {
  it('answers every accepted job once, its own answer, in batches that fit, in the order of arrival', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 7 }), fc.constantFrom('finish', 'turn')), {
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 3 }),
        async (actions, lanes) => {
          const batcher = make({ queueRows: 12 });
          const hands = Array.from({ length: lanes }, () => new HandLane());
          for (const lane of hands) batcher.attach(lane);
          const outcomes = new Map<number, string>();
          const accepted: Work[] = [];
          let next = 0;
          let waiting: Promise<unknown>[] = [];
          for (const action of actions) {
            if (action === 'turn') await turn();
            else if (action === 'finish') await hands.find((lane) => lane.working)?.finish();
            else {
              const mine = job(next++, action as number);
              const takes = batcher.accepts(mine.rows);
              if (takes) accepted.push(mine);
              const answer = batcher.submit(mine).then(
                (text) => outcomes.set(mine.id, text),
                (error) => outcomes.set(mine.id, error.code),
              );
              waiting.push(answer);
              if (!takes) {
                await answer;
                expect(outcomes.get(mine.id)).toBe('OVERLOADED');
              }
            }
            expect(batcher.queuedRows).toBeLessThanOrEqual(12);
          }
          await turn();
          while (batcher.pendingRows > 0) {
            for (const lane of hands) await lane.finish();
            await turn();
          }
          await Promise.all(waiting);
          waiting = [];
          for (const { id } of accepted) expect(outcomes.get(id)).toBe(`answer ${id}`);
          const worked = hands.flatMap((lane) => lane.batches);
          expect(worked.flat()).toHaveLength(accepted.length);
          for (const batch of worked) {
            const rows = batch.reduce((sum, { rows }) => sum + rows, 0);
            expect(batch.length === 1 || rows <= 4).toBe(true);
          }
          for (const lane of hands) {
            const ids = lane.batches.flat().map(({ id }) => id);
            expect(ids).toEqual(ids.toSorted((a, b) => a - b));
          }
        },
      ),
      { numRuns: 150, seed: 1 },
    );
  });

  it('what arrives while a lane is busy goes out together, and an idle lane waits for nobody', async () => {
    const batcher = make();
    const lane = new HandLane();
    batcher.attach(lane);
    const answers = [batcher.submit(job(0))];
    await turn();
    expect(lane.batches).toHaveLength(1);
    answers.push(...[1, 2, 3].map((id) => batcher.submit(job(id))));
    await turn();
    expect(lane.batches).toHaveLength(1);
    await lane.finish();
    expect(lane.batches[1].map(({ id }) => id)).toEqual([1, 2, 3]);
    await lane.finish();
    expect(await Promise.all(answers)).toEqual([0, 1, 2, 3].map((id) => `answer ${id}`));
  });

  it('a job that is refused takes none of its batch with it; a lane that fails fails its batch alone', async () => {
    const batcher = make();
    const lane = new HandLane();
    batcher.attach(lane);
    const answers = Promise.allSettled([
      batcher.submit(job(1)),
      batcher.submit(job(-2)),
      batcher.submit(job(3)),
    ]);
    await turn();
    await lane.finish();
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    lane.run = () => Promise.reject(new Error('the thread ended'));
    await expect(batcher.submit(job(4))).rejects.toThrow('the thread ended');
    lane.run = async (jobs) => jobs.map(() => 'again');
    expect(await batcher.submit(job(5))).toBe('again');
  });

  it('the deadline refuses what waits and what is being worked on, and says when to come again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const batcher = make({ timeoutMs: 100 });
      const lane = new HandLane();
      batcher.attach(lane);
      const answers = [0, 1].map((id) => batcher.submit(job(id)).catch((error) => error));
      await turn();
      answers.push(batcher.submit(job(2)).catch((error) => error));
      vi.advanceTimersByTime(100);
      for (const error of await Promise.all(answers)) {
        expect(error).toMatchObject({ status: 503, code: 'DEADLINE' });
        expect(error.more.retryAfter).toBeGreaterThan(0);
      }
      await lane.finish();
      // What was late while it waited is never worked on.
      expect(lane.batches.flat().map(({ id }) => id)).toEqual([0, 1]);
      expect(batcher.pendingRows).toBe(0);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('callers who have gone are not worked for', async () => {
    const batcher = make();
    const gone = new AbortController();
    const answer = batcher.submit(job(0), gone.signal);
    const late = batcher.submit(job(1), AbortSignal.abort());
    gone.abort();
    await expect(answer).rejects.toMatchObject({ code: 'CLIENT_GONE' });
    await expect(late).rejects.toMatchObject({ code: 'CLIENT_GONE' });
    const lane = new HandLane();
    batcher.attach(lane);
    await turn();
    expect(lane.batches).toEqual([]);
  });

  it('lanes change places without loss: the old one answers its batch, the new one all that follow', async () => {
    const batcher = make();
    const [old, next] = [new HandLane(), new HandLane()];
    batcher.attach(old);
    const first = batcher.submit(job(0));
    await turn();
    const second = batcher.submit(job(1));
    batcher.attach(next);
    const left = batcher.detach(old);
    await turn();
    expect(next.batches.flat().map(({ id }) => id)).toEqual([1]);
    await old.finish();
    await left;
    await next.finish();
    expect(await Promise.all([first, second])).toEqual(['answer 0', 'answer 1']);
    const third = batcher.submit(job(2));
    await turn();
    expect(old.batches).toHaveLength(1);
    await next.finish();
    expect(await third).toBe('answer 2');
    await batcher.detach(next);
    expect(batcher.lanes).toBe(0);
  });
});
