/** Three quantities of a search in one picture: accuracy against memory, time as colour. */
import { scatterSvg } from '../../pictures/index.js';
import { furthest } from './frontier.js';
import type { TrialRecord } from './journal.js';

export function frontierPicture(
  trials: readonly TrialRecord[],
  frontier: readonly TrialRecord[],
  chosen: TrialRecord,
): string {
  const points = furthest(trials).flatMap((record) => {
    const { score, bytes, secondsPerEpoch, output, draw, trial } = record;
    if (score === null || secondsPerEpoch === null) return [];
    const onFrontier = frontier.some((one) => one.trial === trial);
    const named = onFrontier || draw === 0;
    return {
      ...{ x: bytes / 2 ** 20, y: 100 * score.p1.value, z: secondsPerEpoch, onFrontier },
      ...{ low: 100 * score.p1.low, high: 100 * score.p1.high, chosen: trial === chosen.trial },
      ...(named ? { name: draw === 0 ? `${output} (default)` : output } : {}),
    };
  });
  return scatterSvg({
    title: 'Validation P@1 against memory; large: nothing is better, ring: chosen',
    xTitle: 'accounted MiB of training on all rows',
    yTitle: 'P@1, %, 95 % interval',
    zTitle: 'seconds per epoch',
    points,
  });
}
