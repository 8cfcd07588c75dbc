/** Differences in words, and after how many answers a dearer training pays. */
import type { ComparedRun } from './compare.js';

type Run = Omit<ComparedRun, 'words' | 'breakEven'>;

const titles: Readonly<Record<string, string>> = {
  'P@1': 'First prediction right (P@1)',
  'P@3': 'Right among three (P@3)',
  'P@5': 'Right among five (P@5)',
  'head found@5': 'Frequent labels (head) found among five',
  'torso found@5': 'Labels of middling frequency (torso) found among five',
  'tail found@5': 'Rare labels (tail) found among five',
};

/** Costs that differ by less are called alike: such measurements vary by so much. */
const noticeable = 1.1;

/** What `run` gains and loses against `first`. Accuracy counts where its 95 % interval of the paired difference leaves 0 out. */
export function inWords(run: Run, first: Run): ComparedRun['words'] {
  const gained: string[] = [];
  const lost: string[] = [];
  const alike: string[] = [];
  for (const [figure, title] of Object.entries(titles)) {
    const { difference, value } = run.accuracy[figure];
    if (difference === null) continue;
    const points = (x: number) => (100 * Math.abs(x)).toFixed(2);
    const range = `95 % interval ${(100 * difference.low).toFixed(2)} to ${(100 * difference.high).toFixed(2)}`;
    const now = `${(100 * value).toFixed(2)} %`;
    if (difference.low > 0)
      gained.push(`${title}: ${points(difference.value)} points more, ${now} (${range})`);
    else if (difference.high < 0)
      lost.push(`${title}: ${points(difference.value)} points fewer, ${now} (${range})`);
    else alike.push(`${title}: not told apart by these rows (${range})`);
  }
  const cost = (name: string, mine: number | null, its: number | null, less: string, more: string) => {
    if (mine === null || its === null || mine <= 0 || its <= 0) return;
    const ratio = mine / its;
    if (ratio <= 1 / noticeable) gained.push(`${(1 / ratio).toFixed(ratio < 0.1 ? 0 : 2)} times ${less}`);
    else if (ratio >= noticeable) lost.push(`${ratio.toFixed(ratio > 10 ? 0 : 2)} times ${more}`);
    else alike.push(`${name}: within 10 %`);
  };
  cost(
    'training time',
    run.trainingSeconds,
    first.trainingSeconds,
    'less training time',
    'as much training time',
  );
  cost(
    'peak memory',
    run.peakBytes,
    first.peakBytes,
    'less memory in training',
    'as much memory in training',
  );
  cost('model size', run.modelBytes, first.modelBytes, 'smaller on disk', 'as large on disk');
  const [mine, its] = [run.speed, first.speed];
  cost(
    'latency',
    mine.latency.p50,
    its.latency.p50,
    'faster to a single answer (median)',
    'as slow to a single answer (median)',
  );
  cost(
    'throughput',
    1 / mine.rowsPerSecond,
    1 / its.rowsPerSecond,
    'more answers a second',
    'slower in batches',
  );
  return { gained, lost, alike };
}

export interface BreakEven {
  /** Hours of training more than the first run; negative: fewer. */
  readonly trainingHours: number;
  /** Machine hours per million answers more than the first run; negative: fewer. */
  readonly servingHoursPerMillion: number;
  /** Answers after which the two cost the same; null: never. */
  readonly answers: number | null;
  /** Of those, in the currency of the price; null without a price. */
  readonly trainingCost: number | null;
  readonly servingCostPerMillion: number | null;
  readonly words: string;
}

/** Serving hours are those of this machine, busy, at the throughput measured. */
export function breakEvenOf(run: Run, first: Run, price: number | null): BreakEven | null {
  if (run.trainingSeconds === null || first.trainingSeconds === null) return null;
  const perMillion = ({ speed }: Run) => 1e6 / speed.rowsPerSecond / 3600;
  const trainingHours = (run.trainingSeconds - first.trainingSeconds) / 3600;
  const servingHoursPerMillion = perMillion(run) - perMillion(first);
  const crosses = trainingHours * servingHoursPerMillion < 0;
  const answers = crosses ? (-trainingHours / servingHoursPerMillion) * 1e6 : null;
  const many = answers === null ? '' : `${Number(answers.toPrecision(3)).toLocaleString('en')} answers`;
  const words =
    answers === null
      ? trainingHours <= 0
        ? 'It costs less to train and no more to serve: it pays from the start.'
        : 'It costs more to train and no less to serve: it never pays by cost alone.'
      : trainingHours > 0
        ? `Its dearer training pays for itself after ${many}.`
        : `Its cheaper training is used up after ${many}: beyond, the first run costs less.`;
  return {
    ...{ trainingHours, servingHoursPerMillion, answers },
    trainingCost: price === null ? null : price * trainingHours,
    servingCostPerMillion: price === null ? null : price * servingHoursPerMillion,
    words,
  };
}
