/**
 * Lets a trained model remember rows, and what labels are called: no weight changes. How much votes and names count is
 * chosen on validation rows, and probabilities are fitted again to the scores that come of it.
 */
import type { DatasetDirectory } from '../data/cache.js';
import type { CsrDataset } from '../data/dataset.js';
import { rowsOfTexts } from '../data/label-rows.js';
import { concatRows, selectRows, spread } from '../data/rows.js';
import { labelFrequencies } from '../data/statistics.js';
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { type LoadedModel, loadClassifier, provenanceOf, saveChanged } from '../model/model-io.js';
import { type SavedRows, savedRows, votingRows } from '../model/remembered/file.js';
import { type Namesakes, namesIn } from '../model/remembered/namesakes.js';
import {
  defaultVotes,
  featureSettings,
  rememberRows,
  rowsVote,
  textSettings,
  type VoteSettings,
} from '../model/remembered/rows.js';
import { checkFits } from '../model/score.js';
import { roundToBf16 } from '../model/state.js';
import { calibrationSettings } from './config.js';
import type { Scores } from './events.js';
import { calibrate } from './probabilities.js';
import { askRows, chooseVotes, judgeVotes } from './votes-choice.js';

export interface RememberOptions {
  /** Run directory for the model that remembers. */
  readonly out: string;
  /** Rows to remember: `train`, or `all`, validation rows too. Default: those that the model was trained on. */
  readonly rows?: 'train' | 'all';
  /**
   * Beside the rows that the model remembers already, counting as these do, probabilities as they are; default: in their
   * place.
   */
  readonly add?: boolean;
  /** Those that are not named are chosen on validation rows, where these are neither learnt nor remembered: 10,000 at most. */
  readonly votes?: Partial<VoteSettings>;
  /** bf16: stores weights in half of the bytes. Default `float32`. */
  readonly precision?: 'float32' | 'bf16';
  readonly onProgress?: (
    what: 'rows remembered' | 'validation rows asked',
    done: number,
    rows: number,
  ) => void;
}

export interface RememberReport {
  /** Directory of the new model; null where votes did not help on validation rows: nothing was written. */
  readonly model: string | null;
  /** Of all its files. */
  readonly bytes: number;
  /** Remembered: none where they do not vote. */
  readonly rows: number;
  readonly votes: VoteSettings;
  /** Column of text in which questions and what labels are called are compared; null where names do not count. */
  readonly column: string | null;
  /** Labels of which it counts by which words they are called; none where it does not. */
  readonly texts: number;
  /**
   * By score, as the model answers by itself, and remembering, of 10,000 rows at most, evenly spread; null where there were
   * no rows to choose by.
   */
  readonly validation: { readonly without: Scores; readonly with: Scores } | null;
}

/**
 * Saves the model of `path` in the run directory `out`, remembering rows of a dataset: see `model/remembered/votes.ts`.
 *
 * @throws EspalierError `REMEMBER_MISMATCH` for a dataset of other features or labels, `REMEMBER_ADD` where there is
 *   nothing to add to, `REMEMBER_NAMES` where a `namesake` or a `textWeight` is given and labels are called by no words that
 *   the model knows, `REMEMBERED_ROWS` for rows that cannot be remembered, and what loading and saving throw
 * @example await remember('runs/a', await DatasetDirectory.open('data/wn'), { out: 'runs/b' }, selectKernels());
 */
export async function remember(
  path: string,
  directory: DatasetDirectory,
  { out, rows: wanted, add = false, votes: given = {}, precision, onProgress }: RememberOptions,
  kernels: Kernels,
): Promise<RememberReport> {
  const loaded = await loadClassifier(path, kernels);
  checkFits({ code: 'REMEMBER_MISMATCH', op: 'remember' }, loaded, directory);
  const { classifier, spec } = loaded;
  const { training } = await provenanceOf(loaded);
  // Votes are chosen, and probabilities fitted, for the weights that are saved.
  if (precision === 'bf16') roundToBf16(classifier);
  const rows = wanted ?? (training?.rows === 'all' ? 'all' : 'train');
  const fresh = votingRows(await directory.load(rows === 'all' ? 'trainAll' : 'train'));
  const known = add ? knownRows(loaded) : null;
  const names = given.namesake === 0 ? null : await namesFor(loaded, directory, fresh, add);
  if (given.namesake && names === null) throw nameless(directory, add);
  const texts = given.textWeight === 0 ? null : await textsFor(loaded, directory, add);
  if (given.textWeight && texts === null) throw wordless(directory, add);
  const examples = known === null ? fresh : concatRows(known.examples, fresh);
  const settings = {
    ...(given.featureWeight && { featureTemperature: featureSettings({}).temperature }),
    ...(given.textWeight && { textTemperature: textSettings({}).temperature }),
    ...(known?.settings ?? defaultVotes),
    ...given,
  };
  const unseen = !add && rows === 'train' && training?.rows !== 'all' && directory.rows('validation') > 0;
  // What is chosen on validation rows is asked for in any case, unless it is to weigh nothing.
  const { featureWeight = 1, textWeight = 1 } = given;
  const asks = unseen ? { ...settings, featureWeight, textWeight } : settings;
  const remembered = rememberRows(classifier, examples, asks, { names, texts }, (done, of) =>
    onProgress?.('rows remembered', done, of),
  );
  const pairs = calibrationOf(training);
  const { perRow = 0 } = pairs ?? {};
  const asked = unseen
    ? await askRows(classifier, await judgesOf(directory), remembered, perRow, (done, of) =>
        onProgress?.('validation rows asked', done, of),
      )
    : null;
  const votes = asked === null ? settings : chooseVotes(asked, remembered, given);
  const frequencies = loaded.frequencies ?? { rows: examples.rows, counts: labelFrequencies(examples) };
  const facts = { counts: frequencies.counts, trained: frequencies.rows, perRow };
  const without =
    asked &&
    judgeVotes(
      asked,
      remembered,
      { ...votes, weight: 0, featureWeight: 0, textWeight: 0, namesake: 0 },
      facts,
    );
  const best = asked && judgeVotes(asked, remembered, votes, facts);
  const validation = without && best && { without: without.scores, with: best.scores };
  const column = votes.namesake ? (names?.column ?? null) : null;
  const kept = rowsVote(votes) ? examples : selectRows(examples, []);
  const called = textSettings(votes).weight === 0 ? 0 : (texts?.rows ?? 0);
  const report = { rows: kept.rows, votes, column, texts: called, validation };
  if (!rowsVote(votes) && column === null && called === 0) return { model: null, bytes: 0, ...report };
  const fitted =
    best && pairs && calibrate(best.pairs, facts.counts, { ...pairs, isLogit: spec.loss === 'bce' });
  const saved = await saveChanged(out, loaded, {
    metrics: { validation: best?.scores ?? null },
    calibration: add ? loaded.calibration : fitted,
    remembered: { settings: votes, examples: kept, names, texts },
    precision,
  });
  return { model: saved.directory, bytes: saved.bytes, ...report };
}

/** Validation rows that judge: all that is known of each is kept for all settings. */
const mostJudges = 10_000;

async function judgesOf(directory: DatasetDirectory): Promise<CsrDataset> {
  const all = await directory.load('validation');
  return all.rows > mostJudges ? selectRows(all, spread(all.rows, mostJudges)) : all;
}

/** How the model was calibrated, null where it was not to be; as by default where it does not say. */
function calibrationOf(training: Record<string, unknown> | null) {
  return calibrationSettings.nullable().catch(calibrationSettings.parse({})).parse(training?.calibration);
}

/**
 * What labels of a dataset are called, in words that the model knows, or what it knows already where rows are added; null
 * where nothing says so, or no row is called so.
 */
async function namesFor(
  { featurizer, remembered }: LoadedModel,
  directory: DatasetDirectory,
  rows: CsrDataset,
  add: boolean,
): Promise<Namesakes | null> {
  if (add) return remembered?.names ?? null;
  const texts = featurizer === null ? undefined : await directory.labelTexts();
  return featurizer === null || texts === undefined ? null : namesIn(featurizer, texts, rows);
}

/** What labels are called as rows of them, or as the model knows it where rows are added; null where no words say it. */
async function textsFor(
  { featurizer, remembered }: LoadedModel,
  directory: DatasetDirectory,
  add: boolean,
): Promise<CsrDataset | null> {
  if (add) return savedRows(remembered)?.texts ?? null;
  const texts = featurizer === null ? undefined : await directory.labelTexts();
  if (featurizer === null || texts === undefined || featurizer.options.text.length === 0) return null;
  // A name may stand in any column of a question.
  const rows = rowsOfTexts(featurizer, texts, featurizer.options.text);
  return rows.rows === 0 ? null : rows;
}

function wordless({ path }: DatasetDirectory, add: boolean): EspalierError {
  return new EspalierError({
    code: 'REMEMBER_NAMES',
    kind: 'usage',
    op: 'remember',
    problem: add
      ? 'the model does not count by which words its labels are called'
      : 'no label is called by a word that the model knows',
    expected: 'a dataset of text with names of labels',
    hint: 'leave --text-weight out, or say what labels are called: espalier data --label-texts',
    file: path,
  });
}

function nameless({ path }: DatasetDirectory, add: boolean): EspalierError {
  return new EspalierError({
    code: 'REMEMBER_NAMES',
    kind: 'usage',
    op: 'remember',
    problem: add
      ? 'the model does not know what its labels are called'
      : 'no row is called as a label is, in words that the model knows',
    expected: 'names of labels that rows have as the text of a column, with terms that are not hashed',
    hint: 'leave --namesake out, or say what labels are called: espalier data --label-texts',
    file: path,
  });
}

function knownRows({ remembered, directory }: LoadedModel): SavedRows {
  const known = savedRows(remembered);
  if (known !== null && rowsVote(known.settings)) return known;
  throw new EspalierError({
    code: 'REMEMBER_ADD',
    kind: 'usage',
    op: 'remember',
    problem: 'the model remembers no rows that others could be added to',
    expected: 'a model that `espalier remember` wrote, and whose rows vote',
    hint: 'leave --add out',
    file: directory,
  });
}
