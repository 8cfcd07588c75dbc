/** Accounted memory by what it is for, over time and at the peak. */
import { useMemo } from 'preact/hooks';
import type { Figure, RunReport, Table } from '../../reports/types.js';
import { Curve, type Line } from './curve.js';
import { byteSteps, bytes, count } from './format.js';
import { Chart } from './frame.js';

const tagTitles: Readonly<Record<string, string>> = {
  weights: 'weights',
  indices: 'connections',
  optimizer: 'optimiser state',
  gradients: 'gradients',
  activations: 'activations',
  workspace: 'workspace',
  data: 'data',
  auxiliary: 'auxiliary head',
};

/** Areas on top of each other, the outermost first. */
function stacked(table: Table): { lines: Line[]; parts: (readonly Figure[])[] } {
  const tags = Object.keys(tagTitles).filter((tag) => table.columns[tag]?.mean.some((x) => (x ?? 0) > 0));
  const lines: Line[] = [];
  const parts: (readonly Figure[])[] = [];
  let below: number[] = table.step.map(() => 0);
  for (const tag of tags) {
    const { mean } = table.columns[tag];
    const top = below.map((sum, i) => sum + (mean[i] ?? 0));
    const place = Object.keys(tagTitles).indexOf(tag);
    lines.unshift({ name: tagTitles[tag], colour: `--tag-${place}`, x: table.step, y: top, area: true });
    parts.unshift(mean);
    below = top;
  }
  return { lines, parts };
}

export function Memory({ report }: { readonly report: RunReport }) {
  const { lines, parts } = useMemo(() => stacked(report.memory), [report]);
  const peak = report.peakByTag;
  const total = peak === null ? 0 : Object.values(peak).reduce((sum, n) => sum + n, 0);
  return (
    <div class="grid wide">
      <Curve
        title="Accounted memory by tag"
        unit="worst moment between two records"
        {...{
          lines,
          parts,
          xName: 'step',
          showX: count,
          show: bytes,
          incrs: byteSteps,
          zero: true,
          height: 240,
        }}
        empty="This log has no memory over time: runs begun with this release write it some fifty times."
      />
      <Chart title="At the peak" unit={`${bytes(report.peakBytes)} accounted`}>
        {peak === null ? (
          <p class="empty">Known when the run has ended.</p>
        ) : (
          <table class="bars">
            <tbody>
              {Object.keys(tagTitles)
                .filter((tag) => (peak[tag] ?? 0) > 0)
                .map((tag) => (
                  <tr key={tag}>
                    <th scope="row">{tagTitles[tag]}</th>
                    <td class="track">
                      <i
                        style={{
                          width: `${(100 * peak[tag]) / total}%`,
                          background: `var(--tag-${Object.keys(tagTitles).indexOf(tag)})`,
                        }}
                      />
                    </td>
                    <td class="number">{bytes(peak[tag])}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        )}
      </Chart>
    </div>
  );
}
