/** The thread of a worker: checks a model or loads it into shared memory, or adopts one and answers batches. */
import { parentPort } from 'node:worker_threads';
import { type ErrorFacts, EspalierError } from '../errors.js';
import { selectKernels } from '../kernels/index.js';
import { type Highlight, highlightsOf } from '../model/evidence.js';
import { describeLabel, type Explanation, explainRow } from '../model/explain.js';
import { isSparse, type ModelInput, rowOf } from '../model/input.js';
import { LabelTable } from '../model/label-table.js';
import type { LoadedModel } from '../model/model-io.js';
import { confident, packRows, predictionsOf, type SparseInput, topByScore } from '../model/predict.js';
import { ordered, widthFor, widthWithout, without } from '../model/ranking.js';
import { adoptModel, checkModel, shareModel } from '../model/shared-model.js';
import type { TopK } from '../output/layer.js';
import type { FromWorker, JobAnswer, PredictJob, ToWorker } from './messages.js';

if (parentPort === null) throw new Error('this file is started by the server, as a worker thread');
const port = parentPort;
const tell = (message: FromWorker) => port.postMessage(message);

let model: LoadedModel | null = null;
let names: LabelTable | null = null;
let last: Promise<unknown> = Promise.resolve();

port.on('message', (message: ToWorker) => {
  // The model has one step arena: one message after the other.
  last = last.then(() => handle(message));
});

async function handle(message: ToWorker): Promise<void> {
  try {
    if (message.type === 'check') {
      await checkModel(message.path);
      tell({ type: 'checked' });
    } else if (message.type === 'load') {
      tell({ type: 'loaded', model: await shareModel(message.path, selectKernels({ threads: 1 })) });
    } else if (message.type === 'adopt') {
      const kernels = selectKernels({ threads: message.threads });
      model = adoptModel(message.model, kernels);
      names = new LabelTable(message.model.labels);
      // The first prediction touches every page of the weights and compiles the way here.
      await answerAll(model, [
        {
          ...{ rows: 1, inputs: [warmUp(model)], k: 5, confidence: {}, rare: 0, exclude: new Set<string>() },
          ...{ explain: 1, evidence: 1 },
        },
      ]);
      tell({ type: 'ready', kernels: kernels.name });
    } else if (message.type === 'label') {
      const facts = await describeLabel(adopted(), message.label, message.top);
      tell({ type: 'answer', id: message.id, answers: facts });
    } else {
      tell({ type: 'answer', id: message.id, answers: await answerAll(adopted(), message.jobs) });
    }
  } catch (error) {
    const facts = factsOf(error);
    if ('id' in message) tell({ type: 'refused', id: message.id, facts });
    else tell({ type: 'failed', facts });
  }
}

function adopted(): LoadedModel {
  if (model === null) throw new Error('no model was adopted');
  return model;
}

const warmUp = ({ shape }: LoadedModel): SparseInput =>
  shape.features === 0 ? { indices: [], values: [] } : { indices: [0], values: [1] };

/** One pass over the labels for the rows of all jobs; a job with an input that does not fit is refused alone. */
async function answerAll(
  loaded: LoadedModel,
  jobs: readonly PredictJob[],
): Promise<(JobAnswer | ErrorFacts)[]> {
  const rows: SparseInput[] = [];
  const places: (number | ErrorFacts)[] = [];
  for (const { inputs } of jobs) {
    try {
      const own = inputs.map((input) => rowOf(loaded, input));
      packRows(own, loaded.shape.features);
      places.push(rows.length);
      for (const row of own) rows.push(row);
    } catch (error) {
      places.push(factsOf(error));
    }
  }
  const asked = jobs.map(({ rare }) => ({ ...loaded, rare }));
  const { labels } = loaded.shape;
  const widths = jobs.map((job) => widthWithout(job.k, job.exclude));
  const k = Math.min(labels, Math.max(1, ...widths.map((width, j) => widthFor(asked[j], width, labels))));
  const top = rows.length === 0 ? null : await topByScore(loaded, rows, k);
  return jobs.map((job, j): JobAnswer | ErrorFacts => {
    const from = places[j];
    if (typeof from !== 'number' || top === null) return from as ErrorFacts;
    const mine = rows.slice(from, from + job.rows);
    const known = Uint32Array.from(mine, (row) => row.indices.length);
    try {
      const wide = ordered(rowsOf(top, from, job.rows), Math.min(widths[j], k), asked[j]);
      const answer = without(wide, job.k, job.exclude, (label) => names?.name(label));
      const explanations =
        job.explain === 0 ? [] : mine.map((row, r) => whysOf(asked[j], job, answer, row, r));
      return { ...answer, known, explanations };
    } catch (error) {
      return factsOf(error);
    }
  });
}

/** Rows of a ranking, not copied. */
function rowsOf({ k, labels, scores }: TopK, from: number, rows: number): TopK {
  const [at, end] = [from * k, (from + rows) * k];
  return { k, labels: labels.subarray(at, end), scores: scores.subarray(at, end) };
}

/** Why the first labels of row `r` of a job that are sure enough. */
function whysOf(loaded: LoadedModel, job: PredictJob, answer: TopK, row: SparseInput, r: number) {
  const all = predictionsOf(answer, r, loaded, String);
  const sure = confident(all, job.confidence, loaded.calibration).slice(0, job.explain);
  const labels = sure.map(({ label }) => label);
  return explainRow(loaded, row, labels, job.evidence).map((why) => ({
    ...why,
    highlights: highlightsIn(loaded, job.inputs[r], why),
  }));
}

function highlightsIn({ featurizer }: LoadedModel, input: ModelInput, why: Explanation): Highlight[] {
  if (featurizer === null || isSparse(input)) return [];
  return highlightsOf(input, featurizer.options, why);
}

/** What can be sent of an error. */
function factsOf(error: unknown): ErrorFacts {
  if (error instanceof EspalierError) {
    const { cause: _, ...facts } = error.facts;
    return facts;
  }
  const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'WORKER_FAULT', kind: 'system', op: 'worker', problem };
}
