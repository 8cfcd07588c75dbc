/** What figures hide: confusions and sample predictions of an evaluation. */
import { useState } from 'preact/hooks';
import './mistakes.css';
import type { Evaluation, RunReport } from '../../reports/types.js';
import { count, none, percent, short } from './format.js';
import { Chart, EmptyChart, Scroll } from './frame.js';
import { Segments } from './segments.js';

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
    return <EmptyChart title="Confusion">No two labels are confused here.</EmptyChart>;
  }
  const { labels, counts } = confusion;
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  return (
    <Chart title="Confusion of the nearest labels" unit="rows; down: true label, across: first prediction">
      <Scroll name="Confusion matrix">
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
      </Scroll>
    </Chart>
  );
}

function Pairs({ evaluation: { confusion } }: { readonly evaluation: Evaluation }) {
  if (confusion === null || confusion.pairs.length === 0) return null;
  return (
    <Chart
      title="Most frequent mistakes"
      unit={`of ${count(confusion.wrongRows)} rows with a wrong first prediction`}
    >
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
    </Chart>
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
