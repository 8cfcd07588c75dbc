/** What the page knows: the list of runs, the reports of those chosen, kept up to date by the server's events. */
import { useEffect, useReducer, useRef } from 'preact/hooks';
import type { Figure, LivePoint, RunReport, RunSummary, Table } from '../../reports/types.js';

export interface State {
  readonly runs: readonly RunSummary[] | null;
  readonly reports: ReadonlyMap<string, RunReport>;
  /** In the order of their choice; its place is a run's colour. */
  readonly chosen: readonly (string | null)[];
  readonly focus: string | null;
  readonly connected: boolean;
  readonly problem: string | null;
}

type Action =
  | { readonly kind: 'runs'; readonly runs: readonly RunSummary[] }
  | { readonly kind: 'report'; readonly report: RunReport }
  | { readonly kind: 'points'; readonly id: string; readonly points: readonly LivePoint[] }
  | { readonly kind: 'toggle' | 'focus'; readonly id: string }
  | { readonly kind: 'connected'; readonly connected: boolean }
  | { readonly kind: 'problem'; readonly problem: string | null };

export const colours = 8;

function reduce(state: State, action: Action): State {
  switch (action.kind) {
    case 'runs': {
      const known = new Set(action.runs.map(({ id }) => id));
      if (state.runs === null) {
        const asked = new URLSearchParams(location.hash.slice(1)).get('runs')?.split(',') ?? [];
        const wanted = asked.filter((id) => known.has(id));
        const newest = [...action.runs].sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0)).slice(0, 3);
        const chosen = wanted.length > 0 ? wanted.slice(0, colours) : newest.map(({ id }) => id);
        return { ...state, runs: action.runs, chosen, focus: chosen[0] ?? null };
      }
      const chosen = state.chosen.map((id) => (id !== null && known.has(id) ? id : null));
      // The first run of an empty list shows itself.
      if (chosen.every((id) => id === null) && state.runs.length === 0 && action.runs.length > 0)
        return { ...state, runs: action.runs, chosen: [action.runs[0].id], focus: action.runs[0].id };
      return { ...state, runs: action.runs, chosen, focus: focusOf(chosen, state.focus) };
    }
    case 'report':
      return { ...state, reports: new Map(state.reports).set(action.report.id, action.report) };
    case 'points': {
      const report = state.reports.get(action.id);
      if (report === undefined) return state;
      const grown = { ...report, progress: append(report.progress, action.points) };
      return { ...state, reports: new Map(state.reports).set(action.id, grown) };
    }
    case 'toggle': {
      const at = state.chosen.indexOf(action.id);
      const chosen = [...state.chosen];
      if (at >= 0) chosen[at] = null;
      else {
        const free = chosen.indexOf(null);
        if (free >= 0) chosen[free] = action.id;
        else if (chosen.length < colours) chosen.push(action.id);
        else return { ...state, problem: `at most ${colours} runs at once: take one out first` };
      }
      return { ...state, chosen, focus: at >= 0 ? focusOf(chosen, state.focus) : action.id, problem: null };
    }
    case 'focus': {
      if (state.chosen.includes(action.id)) return { ...state, focus: action.id };
      return reduce(state, { kind: 'toggle', id: action.id });
    }
    case 'connected':
      return { ...state, connected: action.connected };
    case 'problem':
      return { ...state, problem: action.problem };
  }
}

const focusOf = (chosen: readonly (string | null)[], focus: string | null) =>
  focus !== null && chosen.includes(focus) ? focus : (chosen.find((id) => id !== null) ?? null);

/** New points behind the others; the server thins them at the next whole report. */
function append(table: Table, points: readonly LivePoint[]): Table {
  const columns: Record<string, Table['columns'][string]> = {};
  const names = new Set([
    ...Object.keys(table.columns),
    ...points.flatMap(({ values }) => Object.keys(values)),
  ]);
  for (const name of names) {
    const old = table.columns[name] ?? { mean: table.step.map(() => null), low: [], high: [] };
    const fresh = points.map(({ values }): Figure => values[name] ?? null);
    if (table.columns[name] === undefined && fresh.every((x) => x === null)) continue;
    const range = (part: readonly Figure[]) => (part.length === 0 ? part : [...part, ...fresh]);
    columns[name] = { mean: [...old.mean, ...fresh], low: range(old.low), high: range(old.high) };
  }
  return {
    stride: table.stride,
    step: [...table.step, ...points.map(({ step }) => step)],
    epoch: [...table.epoch, ...points.map(({ epoch }) => epoch)],
    seconds: [...table.seconds, ...points.map(({ seconds }) => seconds)],
    columns,
  };
}

const refreshAfterPoints = 300;

export function useRuns() {
  const [state, dispatch] = useReducer(reduce, {
    ...{ runs: null, reports: new Map<string, RunReport>(), chosen: [], focus: null },
    ...{ connected: false, problem: null },
  });
  const fetching = useRef(new Map<string, 'under way' | 'again'>());
  const appended = useRef(new Map<string, number>());
  const chosen = useRef(state.chosen);
  chosen.current = state.chosen;

  const load = useRef(async (id: string): Promise<void> => {
    if (fetching.current.has(id)) {
      fetching.current.set(id, 'again');
      return;
    }
    fetching.current.set(id, 'under way');
    try {
      const response = await fetch(`api/runs/${id}`);
      if (!response.ok)
        throw new Error(((await response.json()) as { detail?: string }).detail ?? response.statusText);
      appended.current.set(id, 0);
      dispatch({ kind: 'report', report: (await response.json()) as RunReport });
      dispatch({ kind: 'problem', problem: null });
    } catch (error) {
      dispatch({ kind: 'problem', problem: `this run could not be read: ${(error as Error).message}` });
    }
    // No more than two reports a second and run.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const again = fetching.current.get(id) === 'again';
    fetching.current.delete(id);
    if (again) void load.current(id);
  });

  useEffect(() => {
    const events = new EventSource('api/events');
    events.onopen = () => dispatch({ kind: 'connected', connected: true });
    events.onerror = () => dispatch({ kind: 'connected', connected: false });
    events.addEventListener('runs', ({ data }) => {
      dispatch({ kind: 'runs', runs: JSON.parse(data) as RunSummary[] });
    });
    events.addEventListener('run', ({ data }) => {
      const { id, points, changed } = JSON.parse(data) as {
        id: string;
        points: LivePoint[];
        changed: boolean;
      };
      if (!chosen.current.includes(id)) return;
      const many = (appended.current.get(id) ?? 0) + points.length;
      appended.current.set(id, many);
      if (changed || many > refreshAfterPoints) void load.current(id);
      else dispatch({ kind: 'points', id, points });
    });
    return () => events.close();
  }, []);

  const wanted = state.chosen.filter((id) => id !== null).join(',');
  useEffect(() => {
    if (wanted === '') return;
    for (const id of wanted.split(',')) if (!state.reports.has(id)) void load.current(id);
    history.replaceState(null, '', `#runs=${wanted}`);
  }, [wanted]);

  return { state, dispatch };
}
