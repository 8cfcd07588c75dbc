/** The chosen runs as columns of figures. */
import type { RunSummary } from '../../reports/types.js';
import { type Chosen, colour } from './chosen.js';
import { bytes, count, duration, none, percent, short } from './format.js';
import { Scroll } from './frame.js';

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
    <Scroll name="Runs side by side">
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
    </Scroll>
  );
}
