/** The parts of the page: all chosen runs side by side, then one of them in depth. */
import { useMemo, useState } from 'preact/hooks';
import type {
  Bucket,
  Evaluation,
  Figure,
  RunReport,
  RunSummary,
  Table,
  Validation,
} from '../../reports/types.js';
import { Curve, type Line } from './curve.js';
import {
  byteSteps,
  bytes,
  count,
  duration,
  none,
  percent,
  plainTick,
  share,
  shareTick,
  short,
} from './format.js';
import { HeatOverTime, Histogram } from './pictures.js';

export interface Chosen {
  readonly place: number;
  readonly summary: RunSummary;
  readonly report: RunReport | undefined;
}

const colour = (place: number) => `--run-${place}`;
const dashes = [undefined, [8, 3], [2, 3], [8, 3, 2, 3], [5, 5], [1, 4], [12, 4], [3, 6]];
const bucketNames: readonly Bucket[] = ['head', 'torso', 'tail'];

const facts: readonly (readonly [string, (run: RunSummary) => string, boolean?])[] = [
  ['Status', (run) => statusText(run)],
  ['P@1', (run) => percent(run.precision?.['1']), true],
  ['P@3', (run) => percent(run.precision?.['3']), true],
  ['P@5', (run) => percent(run.precision?.['5']), true],
  ['PSP@1', (run) => percent(run.psp?.['1']), true],
  ['Loss', (run) => short(run.loss)],
  ['Time at work', (run) => duration(run.seconds)],
  ['Examples / s', (run) => count(run.examplesPerSecond)],
  ['Peak memory, accounted', (run) => bytes(run.peakBytes)],
  ['Peak memory, process', (run) => bytes(run.peakRssBytes ?? run.rssBytes)],
  ['Model on disk', (run) => bytes(run.modelBytes)],
  ['Weights', (run) => count(run.weights)],
  ['Labels', (run) => count(run.labels)],
  ['Output layer', (run) => run.output ?? none],
  ['Kernels', (run) => (run.kernels === null ? none : `${run.kernels}, ${run.threads ?? '?'} thread(s)`)],
];

export function statusText(run: RunSummary): string {
  const done = run.steps && run.step !== null ? ` ${Math.floor((100 * run.step) / run.steps)} %` : '';
  if (run.readShare < 1) return `reading ${Math.floor(100 * run.readShare)} %`;
  if (run.status === 'running') return `running${done}`;
  if (run.status === 'stopped') return `stopped${done ? ` at${done}` : ''}`;
  return run.status;
}

export function SideBySide({ runs }: { readonly runs: readonly Chosen[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls by keyboard
    // biome-ignore lint/a11y/useSemanticElements: a region that scrolls
    <div class="scroll" tabIndex={0} role="region" aria-label="Runs side by side">
      <table class="facts">
        <thead>
          <tr>
            <th scope="col">Last validation</th>
            {runs.map(({ place, summary }) => (
              <th scope="col" key={summary.id} class="number">
                <i class="swatch" style={{ '--c': `var(${colour(place)})` }} /> {summary.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {facts.map(([title, show, best]) => (
            <tr key={title}>
              <th scope="row">{title}</th>
              {runs.map((run) => {
                const text = show({
                  ...run.summary,
                  modelBytes: run.report?.modelBytes ?? run.summary.modelBytes,
                });
                return (
                  <td key={run.summary.id} class={best && text !== none ? 'number strong' : 'number'}>
                    {text}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

type Axis = 'step' | 'epoch' | 'time';
const axes: readonly Axis[] = ['step', 'epoch', 'time'];
const showAxis = { step: count, epoch: short, time: duration };
const xOf = (
  axis: Axis,
  of: { step: readonly number[]; epoch: readonly Figure[]; seconds: readonly number[] },
) => (axis === 'step' ? of.step : axis === 'epoch' ? of.epoch : of.seconds);
const rowsAsTable = (rows: readonly Validation[]) => ({
  step: rows.map(({ step }) => step),
  epoch: rows.map(({ epoch }) => epoch),
  seconds: rows.map(({ seconds }) => seconds),
});

export function Segments<T extends string>(props: {
  readonly name: string;
  readonly title: string;
  readonly options: readonly T[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  return (
    <fieldset class="segments">
      <legend>{props.title}</legend>
      {props.options.map((option) => (
        <label key={option}>
          <input
            type="radio"
            name={props.name}
            checked={option === props.value}
            onChange={() => props.onChange(option)}
          />
          <span>{option}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Curves({ runs }: { readonly runs: readonly Chosen[] }) {
  const [axis, setAxis] = useState<Axis>('step');
  const [scale, setScale] = useState<'linear' | 'log'>('linear');
  const [k, setK] = useState('1');
  const cutoffs = useMemo(() => {
    const all = new Set(
      runs.flatMap(({ report }) => report?.validations.flatMap((v) => Object.keys(v.precision)) ?? []),
    );
    return [...all].sort((a, b) => Number(a) - Number(b));
  }, [runs]);
  const cutoff = cutoffs.includes(k) ? k : (cutoffs[0] ?? '1');
  const of = (column: string): Line[] =>
    runs.flatMap(({ place, summary, report }) => {
      const values = report?.progress.columns[column];
      if (report === undefined || values === undefined) return [];
      const { mean, low, high } = values;
      const wide = column === 'loss' ? { low, high } : {};
      return [
        {
          name: summary.name,
          colour: colour(place),
          dash: dashes[place],
          x: xOf(axis, report.progress),
          y: mean,
          ...wide,
        },
      ];
    });
  const scores = (of: (v: Validation) => Figure | undefined): Line[] =>
    runs.flatMap(({ place, summary, report }) =>
      report === undefined || report.validations.length === 0
        ? []
        : [
            {
              ...{ name: summary.name, colour: colour(place), dash: dashes[place], dots: true },
              x: xOf(axis, rowsAsTable(report.validations)),
              y: report.validations.map((v) => of(v) ?? null),
            },
          ],
    );
  const common = { xName: axis, showX: showAxis[axis] };
  const waiting = 'Nothing yet: the first values come seconds after a run begins.';
  const noScores =
    'No validation yet. Runs score validation rows every epoch: see validation.every in the settings.';
  return (
    <>
      <div class="controls">
        <Segments name="axis" title="Across" options={axes} value={axis} onChange={setAxis} />
        <Segments
          name="scale"
          title="Loss"
          options={['linear', 'log'] as const}
          value={scale}
          onChange={setScale}
        />
        {cutoffs.length > 1 && (
          <Segments name="k" title="At k" options={cutoffs} value={cutoff} onChange={setK} />
        )}
      </div>
      <div class="grid">
        <Curve
          title="Training loss"
          unit="mean per example"
          lines={of('loss')}
          show={short}
          log={scale === 'log'}
          empty={waiting}
          {...common}
        />
        <Curve
          title={`P@${cutoff}`}
          unit="validation rows, %"
          lines={scores((v) => v.precision[cutoff])}
          show={percent}
          tick={plainTick}
          empty={noScores}
          {...common}
        />
        <Curve
          title={`PSP@${cutoff}`}
          unit="worth of rare labels, %"
          lines={scores((v) => v.psp[cutoff])}
          show={percent}
          tick={plainTick}
          empty={noScores}
          {...common}
        />
        <Curve
          title="Throughput"
          unit="examples / s"
          lines={of('examplesPerSecond')}
          show={short}
          zero
          empty={waiting}
          {...common}
        />
        <Curve
          title="Learning rate"
          unit="output layer"
          lines={of('rate')}
          show={short}
          zero
          empty={waiting}
          {...common}
        />
        <Curve
          title="Gradient at the encoder"
          unit="norm, last step"
          lines={of('encoderNorm')}
          show={short}
          zero
          empty={waiting}
          {...common}
        />
        <Curve
          title="Resident memory"
          unit="of the process"
          lines={of('rssBytes')}
          show={bytes}
          incrs={byteSteps}
          zero
          empty={waiting}
          {...common}
        />
        {of('auxiliaryLoss').length > 0 && (
          <Curve
            title="Auxiliary loss"
            unit="mean per example"
            lines={of('auxiliaryLoss')}
            show={short}
            empty={waiting}
            {...common}
          />
        )}
      </div>
    </>
  );
}

export function Buckets({ report }: { readonly report: RunReport }) {
  const cutoffs = useMemo(() => {
    const first = report.validations.find((v) => v.buckets !== null)?.buckets ?? null;
    return first === null ? [] : Object.keys(first.head).sort((a, b) => Number(a) - Number(b));
  }, [report]);
  const [k, setK] = useState('5');
  const cutoff = cutoffs.includes(k) ? k : (cutoffs[cutoffs.length - 1] ?? '1');
  const rows = report.validations.filter((v) => v.buckets !== null);
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
  return (
    <>
      <p class="hint">
        Labels in three parts that make up a third of all (row, label) pairs each: the frequent <b>head</b>,
        the <b>torso</b>, the rare <b>tail</b>.
      </p>
      {cutoffs.length > 1 && (
        <div class="controls">
          <Segments name="bucket-k" title="At k" options={cutoffs} value={cutoff} onChange={setK} />
        </div>
      )}
      <div class="grid">
        <Curve
          title={`Found among the first ${cutoff}`}
          unit="of the true labels, %"
          lines={lines('recall')}
          empty={empty}
          {...common}
        />
        <Curve
          title={`P@${cutoff} of predictions that name them`}
          unit="%"
          lines={lines('precision')}
          empty={empty}
          {...common}
        />
        <Curve
          title={`What they add to P@${cutoff}`}
          unit="points"
          lines={lines('contribution')}
          empty={empty}
          {...common}
        />
      </div>
    </>
  );
}

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
      <figure class="chart">
        <figcaption>
          <span class="title">At the peak</span> <span class="unit">{bytes(report.peakBytes)} accounted</span>
        </figcaption>
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
      </figure>
    </div>
  );
}

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
        <figure class="chart">
          <figcaption>
            <span class="title">Labels per hidden unit</span>
          </figcaption>
          <p class="empty">
            {report.snapshots.length > 0
              ? 'Every label sees every unit.'
              : 'This log has no snapshots: runs begun with this release write them.'}
          </p>
        </figure>
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

export function Mistakes({ report }: { readonly report: RunReport }) {
  const [split, setSplit] = useState<string | null>(null);
  const { evaluations } = report;
  const shown = evaluations.find((e) => e.split === split) ?? evaluations[0];
  if (shown === undefined) {
    return (
      <div class="empty">
        <p>No evaluation is kept in this run. Make one, and this part fills:</p>
        <pre>espalier evaluate {report.directory} DATA --save</pre>
      </div>
    );
  }
  return (
    <>
      {evaluations.length > 1 && (
        <div class="controls">
          <Segments
            name="split"
            title="Rows"
            options={evaluations.map((e) => e.split)}
            value={shown.split}
            onChange={setSplit}
          />
        </div>
      )}
      <Scores evaluation={shown} />
      <div class="grid wide">
        <Matrix evaluation={shown} />
        <Pairs evaluation={shown} />
      </div>
      <h3>Sample predictions</h3>
      <Samples evaluation={shown} />
    </>
  );
}

function Scores({ evaluation }: { readonly evaluation: Evaluation }) {
  return (
    <p class="hint">
      {count(evaluation.rows)} {evaluation.split} rows:{' '}
      {evaluation.at.map(({ k, precision }) => (
        <span key={k} class="score">
          P@{k} <b>{percent(precision.value)}</b> [{percent(precision.low)}, {percent(precision.high)}]{' '}
        </span>
      ))}
    </p>
  );
}

function Matrix({ evaluation: { confusion } }: { readonly evaluation: Evaluation }) {
  if (confusion === null || confusion.labels.length === 0) {
    return (
      <figure class="chart">
        <figcaption>
          <span class="title">Confusion</span>
        </figcaption>
        <p class="empty">No two labels are confused here.</p>
      </figure>
    );
  }
  const { labels, counts } = confusion;
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  return (
    <figure class="chart">
      <figcaption>
        <span class="title">Confusion of the nearest labels</span>{' '}
        <span class="unit">rows; down: true label, across: first prediction</span>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls by keyboard */}
      {/* biome-ignore lint/a11y/useSemanticElements: a region that scrolls */}
      <div class="scroll" tabIndex={0} role="region" aria-label="Confusion matrix">
        <table class="matrix">
          <thead>
            <tr>
              <td />
              {labels.map(({ label, name }, i) => (
                <th scope="col" key={label} title={name}>
                  {i + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {labels.map(({ label, name }, i) => (
              <tr key={label}>
                <th scope="row" title={name}>
                  <span>{i + 1}</span> {name}
                </th>
                {labels.map((other, j) => {
                  const n = counts[i]?.[j] ?? 0;
                  return (
                    <td
                      key={other.label}
                      class={i === j ? 'right' : n > 0 ? 'wrong' : ''}
                      style={{ '--strength': `${Math.round(i === j ? 0 : (70 * n) / most)}%` }}
                    >
                      {n > 0 ? n : ''}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}

function Pairs({ evaluation: { confusion } }: { readonly evaluation: Evaluation }) {
  if (confusion === null || confusion.pairs.length === 0) return null;
  return (
    <figure class="chart">
      <figcaption>
        <span class="title">Most frequent mistakes</span>{' '}
        <span class="unit">of {count(confusion.wrongRows)} rows with a wrong first prediction</span>
      </figcaption>
      <table class="list">
        <thead>
          <tr>
            <th scope="col">is</th>
            <th scope="col">predicted</th>
            <th scope="col" class="number">
              rows
            </th>
            <th scope="col" class="number" title="cosine between the weights of the two labels">
              alike
            </th>
          </tr>
        </thead>
        <tbody>
          {confusion.pairs.slice(0, 12).map(({ truth, predicted, count: n, cosine }) => (
            <tr key={`${truth.label} ${predicted.label}`}>
              <td>{truth.name}</td>
              <td>{predicted.name}</td>
              <td class="number">{n}</td>
              <td class="number">{cosine === null ? none : cosine.toFixed(2)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

function Samples({ evaluation: { samples } }: { readonly evaluation: Evaluation }) {
  return (
    <div class="samples">
      {samples.map(({ text, truth, predictions }, i) => {
        const scores = predictions.map((p) => p.probability ?? p.score ?? 0);
        const [low, high] =
          predictions[0]?.probability !== null ? [0, 1] : [Math.min(0, ...scores), Math.max(...scores)];
        return (
          <article key={i}>
            <p class="text">{text ?? 'a row without readable text'}</p>
            <p class="truth">
              {truth.map(({ label, name }) => (
                <span key={label}>{name}</span>
              ))}
            </p>
            <ol>
              {predictions.map((p, rank) => (
                <li key={p.label} class={p.right ? 'right' : ''}>
                  <i style={{ width: `${(100 * (scores[rank] - low)) / Math.max(1e-9, high - low)}%` }} />
                  <span>
                    {p.right ? '✓ ' : ''}
                    {p.name}
                  </span>
                  <b>{p.probability === null ? short(p.score) : `${percent(100 * p.probability)} %`}</b>
                </li>
              ))}
            </ol>
          </article>
        );
      })}
    </div>
  );
}
