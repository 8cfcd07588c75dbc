/** The dashboard: runs to choose at the side, what they tell in the middle. */
import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import '../../serve/page/base.css';
import './page.css';
import { useState } from 'preact/hooks';
import { Buckets } from './buckets.js';
import type { Chosen } from './chosen.js';
import { Curves } from './curves.js';
import { percent } from './format.js';
import { Memory } from './memory.js';
import { Mistakes } from './mistakes.js';
import { SideBySide, statusText } from './side-by-side.js';
import { useRuns } from './state.js';
import { Topology } from './topology.js';
import { Weights } from './weights.js';

const parts = [
  ['Frequent and rare labels', Buckets],
  ['Memory', Memory],
  ['Topology', Topology],
  ['Weights and gates', Weights],
  ['Mistakes and samples', Mistakes],
] as const;

function App() {
  const { state, dispatch } = useRuns();
  const [filter, setFilter] = useState('');
  const { runs, reports, chosen, focus, connected, problem } = state;
  if (runs === null) return <p class="waiting">Reading runs …</p>;
  const shown: Chosen[] = chosen.flatMap((id, place) => {
    const summary = runs.find((run) => run.id === id);
    return summary === undefined ? [] : [{ place, summary, report: reports.get(summary.id) }];
  });
  const inFocus = shown.find(({ summary }) => summary.id === focus);
  const listed = runs.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  const troubles = shown.flatMap(({ summary }) => summary.problems.map((text) => `${summary.name}: ${text}`));

  /** Up and down walk along the runs. */
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || (event.target as HTMLInputElement).type !== 'checkbox') return;
    event.preventDefault();
    const boxes = [
      ...(event.currentTarget as HTMLElement).querySelectorAll<HTMLInputElement>('input[type=checkbox]'),
    ];
    boxes[boxes.indexOf(event.target as HTMLInputElement) + step]?.focus();
  };

  return (
    <div class="frame">
      <a class="skip" href="#main">
        To the charts
      </a>
      <aside>
        <header>
          <h1>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <path d="M8 15V2M8 12C4 12 3 9 3 7M8 9c4 0 5-3 5-5" />
            </svg>
            Runs
          </h1>
          <span class={connected ? 'live on' : 'live'} role="status">
            {connected ? 'live' : 'reconnecting'}
          </span>
        </header>
        {runs.length > 8 && (
          <input
            class="filter"
            type="search"
            placeholder="filter by name"
            aria-label="Filter runs by name"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        )}
        <ul class="runs" onKeyDown={onKey}>
          {listed.map((run) => {
            const place = chosen.indexOf(run.id);
            return (
              <li key={run.id} class={run.status}>
                <label>
                  <input
                    type="checkbox"
                    checked={place >= 0}
                    style={{ '--c': place >= 0 ? `var(--run-${place})` : 'transparent' }}
                    onChange={() => dispatch({ kind: 'toggle', id: run.id })}
                  />
                  <span class="name">{run.name}</span>
                  <span class="score">{run.precision === null ? '' : percent(run.precision['1'])}</span>
                  <span class="status">
                    {statusText(run)}
                    {run.output === null ? '' : ` · ${run.output}`}
                  </span>
                </label>
              </li>
            );
          })}
        </ul>
        {runs.length > 0 && <p class="hint">P@1 on validation rows, percent. Up to eight runs at once.</p>}
      </aside>
      <main id="main">
        {problem !== null && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        {troubles.length > 0 && (
          <div class="problem" role="status">
            {troubles.map((text) => (
              <p key={text}>{text}</p>
            ))}
          </div>
        )}
        {runs.length === 0 ? (
          <section class="empty first">
            <h2>No runs yet</h2>
            <p>Begin one, and it appears here by itself:</p>
            <pre>espalier train data/wn --out runs/first</pre>
            <p>No data? This makes some, and trains on it:</p>
            <pre>espalier quickstart</pre>
          </section>
        ) : shown.length === 0 ? (
          <section class="empty first">
            <h2>Choose a run</h2>
            <p>Tick one or more in the list: their figures stand side by side here.</p>
          </section>
        ) : (
          <>
            <section aria-labelledby="side">
              <h2 id="side">Side by side</h2>
              <SideBySide runs={shown} />
            </section>
            <section aria-labelledby="curves">
              <h2 id="curves">Curves</h2>
              <Curves runs={shown} />
            </section>
            {inFocus !== undefined && (
              <>
                <div class="focus">
                  <h2>
                    <i class="swatch" style={{ '--c': `var(--run-${inFocus.place})` }} /> In depth
                  </h2>
                  {shown.length > 1 ? (
                    <select
                      aria-label="Run in depth"
                      value={inFocus.summary.id}
                      onChange={(event) => dispatch({ kind: 'focus', id: event.currentTarget.value })}
                    >
                      {shown.map(({ summary }) => (
                        <option key={summary.id} value={summary.id}>
                          {summary.name}
                        </option>
                      ))}
                    </select>
                  ) : (
                    <b>{inFocus.summary.name}</b>
                  )}
                </div>
                {inFocus.report === undefined ? (
                  <p class="empty">Reading …</p>
                ) : (
                  parts.map(([title, Part]) => (
                    <section key={title} aria-label={title}>
                      <h3 class="part">{title}</h3>
                      {inFocus.report && <Part report={inFocus.report} />}
                    </section>
                  ))
                )}
              </>
            )}
          </>
        )}
        <footer>
          <p>
            Every number here as JSON: <code>espalier inspect RUN --json</code>,{' '}
            <code>espalier ui RUNS --json</code>
          </p>
        </footer>
      </main>
    </div>
  );
}

const root = document.getElementById('app');
if (root !== null) render(<App />, root);
