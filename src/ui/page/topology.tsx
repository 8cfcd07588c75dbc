/** Connections: how they are spread over hidden units, and how they move. */
import type { RunReport } from '../../reports/types.js';
import { colour } from './chosen.js';
import { Curve, type Line } from './curve.js';
import { count, share, shareTick } from './format.js';
import { EmptyChart } from './frame.js';
import { Histogram } from './pictures.js';

export function Topology({ report }: { readonly report: RunReport }) {
  const seen = report.snapshots.filter(({ inDegree }) => inDegree !== null);
  const [first, last] = [seen[0]?.inDegree, seen[seen.length - 1]?.inDegree];
  const { rewires } = report;
  const line = (column: string, name: string, i: number): Line[] => {
    const values = rewires.columns[column];
    return values === undefined
      ? []
      : [{ name, colour: colour(i), x: rewires.step, y: values.mean, dots: true }];
  };
  const still =
    report.output === null || /^(fan-in|grouped)/.test(report.output)
      ? 'No rewiring so far: static connections never move, others do at topology.every steps.'
      : `A ${report.output} output layer has no connections that move.`;
  const common = { xName: 'step', showX: count, show: share, tick: shareTick };
  return (
    <div class="grid">
      {first && last ? (
        <Histogram
          title="Labels per hidden unit"
          unit={`${count(last.units)} units; outline: at the start`}
          integer
          bins={last}
          before={first}
          note={`mean ${count(last.mean)}, median ${count(last.median)}, ${count(last.unconnected)} without any; the busiest tenth has ${share(last.topTenth)} of all connections`}
        />
      ) : (
        <EmptyChart title="Labels per hidden unit">
          {report.snapshots.length > 0
            ? 'Every label sees every unit.'
            : 'This log has no snapshots: runs begun with this release write them.'}
        </EmptyChart>
      )}
      <Curve
        title="Connection churn"
        unit="share replaced per rewiring"
        lines={line('replacedShare', 'replaced', 0)}
        zero
        empty={still}
        {...common}
      />
      <Curve
        title="Connections ever tried"
        unit="share of all possible"
        lines={line('explored', 'explored', 1)}
        empty={still}
        {...common}
      />
    </div>
  );
}
