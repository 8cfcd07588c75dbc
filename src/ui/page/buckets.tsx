/** Scores of frequent, middling and rare labels over time. */
import type { Bucket, RunReport } from '../../reports/types.js';
import { dashes } from './chosen.js';
import { Curve, type Line } from './curve.js';
import { count, percent, plainTick } from './format.js';
import { useCutoff } from './segments.js';

const bucketNames: readonly Bucket[] = ['head', 'torso', 'tail'];

export function Buckets({ report }: { readonly report: RunReport }) {
  const rows = report.validations.filter((v) => v.buckets !== null);
  const cutoffsOf = () => Object.keys(rows[0]?.buckets?.head ?? {});
  const { cutoffs, cutoff: found, choice } = useCutoff('bucket-k', '5', cutoffsOf, report);
  const cutoff = found ?? cutoffs[cutoffs.length - 1] ?? '1';
  const lines = (what: 'precision' | 'recall' | 'contribution'): Line[] =>
    rows.length === 0
      ? []
      : bucketNames.map((name, i) => ({
          ...{ name, colour: `--bucket-${i}`, dash: dashes[i], dots: true },
          x: rows.map(({ step }) => step),
          y: rows.map(({ buckets }) => buckets?.[name][cutoff]?.[what] ?? null),
        }));
  const common = { xName: 'step', showX: count, show: percent, tick: plainTick, zero: true };
  const empty =
    'This log has no scores by frequency: runs begun with this release write them at every validation.';
  const panels = [
    [`Found among the first ${cutoff}`, 'of the true labels, %', 'recall'],
    [`P@${cutoff} of predictions that name them`, '%', 'precision'],
    [`What they add to P@${cutoff}`, 'points', 'contribution'],
  ] as const;
  return (
    <>
      <p class="hint">
        Labels in three parts that make up a third of all (row, label) pairs each: the frequent <b>head</b>,
        the <b>torso</b>, the rare <b>tail</b>.
      </p>
      {cutoffs.length > 1 && <div class="controls">{choice(cutoff)}</div>}
      <div class="grid">
        {panels.map(([title, unit, what]) => (
          <Curve key={what} title={title} unit={unit} lines={lines(what)} empty={empty} {...common} />
        ))}
      </div>
    </>
  );
}
