/** Weights and gates over time. */
import type { RunReport } from '../../reports/types.js';
import { colour } from './chosen.js';
import { Curve, type Line } from './curve.js';
import { count, share, short } from './format.js';
import { HeatOverTime } from './pictures.js';

export function Weights({ report }: { readonly report: RunReport }) {
  const names = [...new Set(report.snapshots.flatMap(({ weights }) => weights.map(({ name }) => name)))];
  const gateLayers = [...new Set(report.gates.flatMap(({ layers }) => layers.map(({ name }) => name)))];
  if (names.length === 0 && gateLayers.length === 0) {
    return (
      <p class="empty">
        This log has no snapshots of weights: runs begun with this release write some fifty, whatever their
        length.
      </p>
    );
  }
  return (
    <div class="grid">
      {names.map((name) => {
        const columns = report.snapshots.flatMap(({ step, weights }) => {
          const found = weights.find((w) => w.name === name);
          return found === undefined ? [] : [{ step, bins: found }];
        });
        const now = columns[columns.length - 1].bins;
        return (
          <HeatOverTime
            key={name}
            title={name}
            unit="over time; the stronger the colour, the more weights"
            columns={columns}
            note={`now: rms ${short(now.rms)}, ${share(now.zeros)} exactly 0`}
          />
        );
      })}
      {gateLayers.map((name) => {
        const records = report.gates.flatMap(({ step, layers }) =>
          layers.filter((l) => l.name === name).map((l) => ({ step, ...l })),
        );
        const columns = records.flatMap(({ step, shares }) =>
          shares === null ? [] : [{ step, bins: { from: 0, to: 1, shares } }],
        );
        const open: Line = {
          ...{ name: 'open', colour: colour(0), dots: true },
          x: records.map(({ step }) => step),
          y: records.map(({ kept, of }) => kept / Math.max(1, of)),
        };
        return columns.length > 0 ? (
          <HeatOverTime
            key={`gate ${name}`}
            title={`Gates of ${name}`}
            unit="values over time"
            columns={columns}
          />
        ) : (
          <Curve
            key={`gate ${name}`}
            title={`Gates of ${name}`}
            unit="share open"
            lines={[open]}
            xName="step"
            showX={count}
            show={share}
            zero
            empty=""
          />
        );
      })}
    </div>
  );
}
