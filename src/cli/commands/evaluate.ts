import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { readExclusions } from '../../data/exclusions.js';
import { EspalierError } from '../../errors.js';
import { writeFileAtomic } from '../../files.js';
import { selectKernels } from '../../kernels/index.js';
import { loadClassifier } from '../../model/model-io.js';
import { mostRare } from '../../model/ranking.js';
import { reliabilitySvg } from '../../pictures/index.js';
import { evaluationOf, PredictionDetails, saveEvaluation } from '../../reports/index.js';
import { type EvaluationReport, evaluateModel, evaluateRares } from '../../train/evaluate.js';
import { evaluateSparse } from '../../train/network/evaluate-sparse.js';
import { figureColumns, figureTitles } from '../figures.js';
import { number } from '../options.js';
import { openSplit, splitOption } from '../split.js';
import { note, out, ProgressLine } from '../terminal.js';

export function evaluateCommand(): Command {
  return new Command('evaluate')
    .description('score a model on a split of a dataset')
    .argument('<model>', 'run directory, model directory, or the file of an exported sparse network')
    .argument('<data>', 'dataset directory; for a sparse network a directory of images (IDX, or PNG folders)')
    .option(...splitOption)
    .option('--by-score', 'rank by score, as if the model had no calibration')
    .option(
      '--rare <list>',
      'favour labels that were seen rarely by so much, 0 to 10; several, with commas, are compared',
      severalRare,
    )
    .option(
      '--exclude-pairs <file>',
      'pairs of a row and a label that are no question, by number from 0, one a line: a filter of the Extreme Classification Repository',
    )
    .option('--picture <file>', 'write a reliability diagram of the probabilities as SVG')
    .option('--json', 'print JSON instead of a table')
    .option('--save', 'keep figures, confusions and sample predictions in the run, for `espalier ui`')
    .addHelpText(
      'after',
      '\nLabels are ranked as `espalier predict` prints them: by probability where the calibration found that better, else by score.',
    )
    .action(async (model: string, data: string, options: EvaluateOptions) => {
      if (model.endsWith('.safetensors')) return evaluateExported(model, data, options);
      checkRare(options);
      if (options.save === true) await checkRun(model);
      const { directory, split } = await openSplit('espalier evaluate', data, options.split);
      const { labels } = directory.info;
      const excluded =
        options.excludePairs === undefined
          ? undefined
          : await readExclusions(options.excludePairs, { rows: directory.rows(split), labels });
      const line = new ProgressLine();
      const progress = (done: number, rows: number) => line.show(`scored ${done} of ${rows} rows`);
      const kernels = selectKernels();
      const found = await loadClassifier(model, kernels);
      const loaded = { ...found, rare: options.rare?.[0], ...(options.byScore ? { calibration: null } : {}) };
      if (several(options)) {
        const reports = await evaluateRares(loaded, directory, split, options.rare, {
          ...{ onProgress: progress, excluded },
        });
        line.clear();
        if (options.json) out(JSON.stringify(reports));
        else printRares(reports);
        return;
      }
      const details = new PredictionDetails(loaded, {
        texts: split === 'test' ? await directory.testRows() : undefined,
        labelNames: (await directory.names()).labelNames,
      });
      const report = await evaluateModel(
        loaded,
        directory,
        split,
        kernels,
        progress,
        [1, 3, 5],
        details,
        excluded,
      );
      line.clear();
      if (options.picture !== undefined) await writeFileAtomic(options.picture, pictureOf(report));
      if (options.save === true) {
        note(`wrote ${await saveEvaluation(model, evaluationOf(report, details.details()))}`);
      }
      if (options.json) out(JSON.stringify(report));
      else printEvaluation(report);
    });
}

/** An evaluation that is kept says nothing of its order: it is of the model's own, of all labels; a picture is of one. */
function checkRare(options: EvaluateOptions): void {
  if (options.save === true && options.excludePairs !== undefined) {
    throw new EspalierError({
      code: 'EVALUATE_EXCLUDED',
      kind: 'usage',
      op: 'espalier evaluate',
      problem: 'an evaluation is kept of all labels alone, so that evaluations compare',
      expected: '--save without --exclude-pairs',
    });
  }
  const { rare = [0], picture, save } = options;
  if (!(save === true && rare.some((one) => one !== 0)) && !(picture !== undefined && several(options)))
    return;
  throw new EspalierError({
    code: 'EVALUATE_RARE',
    kind: 'usage',
    op: 'espalier evaluate',
    problem: "an evaluation is kept of the model's own order alone, and a picture drawn of one order",
    expected: save === true ? '--save without --rare' : 'one number after --rare',
    received: `--rare ${rare.join(',')}`,
  });
}

const several = (
  options: EvaluateOptions,
): options is EvaluateOptions & { readonly rare: readonly number[] } => (options.rare?.length ?? 1) > 1;

function printExcluded(excluded: EvaluationReport['excluded']): void {
  if (excluded === null) return;
  const { pairs, right } = excluded;
  const missed =
    right === 0 ? '' : `; ${right.toLocaleString('en')} of them are right, and count as not found`;
  out(`  without ${pairs.toLocaleString('en')} pairs of a row and a label${missed}`);
}

/** What P@k costs and PSP@k gains the further rare labels are favoured, a line each. */
function printRares(reports: readonly EvaluationReport[]): void {
  const [{ rows, split, rankedBy, at: first, excluded }] = reports;
  out(`${rows.toLocaleString('en')} ${split} rows, labels by ${rankedBy}, in per cent`);
  printExcluded(excluded);
  out(`  ${'rare'.padStart(6)}${figureTitles(first.map(({ k }) => k))}`);
  for (const { rare, at } of reports) {
    const figures = (['precision', 'psp'] as const).flatMap((name) =>
      at.map((one) => 100 * (one[name]?.value ?? 0)),
    );
    out(`  ${String(rare).padStart(6)}${figureColumns(figures)}`);
  }
}

/** Numbers with commas between them. */
function severalRare(text: string): number[] {
  const one = number(`numbers from 0 to ${mostRare}, with commas`, (n) => n >= 0 && n <= mostRare);
  return text.split(',').map(one);
}

async function evaluateExported(file: string, data: string, options: EvaluateOptions) {
  const { split } = options;
  if (split !== 'train' && split !== 'test') {
    throw new EspalierError({
      code: 'DATASET_SPLIT',
      kind: 'usage',
      op: 'espalier evaluate',
      problem: `images have no split ${JSON.stringify(split)}`,
      expected: 'train or test',
    });
  }
  const report = await evaluateSparse(file, data, split, selectKernels());
  if (options.json) {
    out(JSON.stringify(report));
    return;
  }
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const { left, of } = report.weights;
  out(`${report.images.toLocaleString('en')} ${split} images`);
  out(`  accuracy as exported            ${percent(report.accuracy)}`);
  out(`  the same weights, zeros and all ${percent(report.denseAccuracy)}`);
  out(`  images answered differently     ${report.differ}`);
  out(
    `  weights that are not 0          ${left.toLocaleString('en')} of ${of.toLocaleString('en')} (${percent(left / of)})`,
  );
}

/** Only a run directory keeps evaluations: models are immutable. */
async function checkRun(path: string): Promise<void> {
  if ((await stat(join(path, 'config.json')).catch(() => null))?.isFile()) return;
  throw new EspalierError({
    code: 'EVALUATE_SAVE',
    kind: 'usage',
    op: 'espalier evaluate',
    problem: 'only a run can keep an evaluation, and this is none',
    expected: 'a run directory, with its config.json',
    hint: 'leave out --save, or name the run that the model belongs to',
    file: path,
  });
}

interface EvaluateOptions {
  readonly split: string;
  readonly byScore?: boolean;
  readonly rare?: readonly number[];
  readonly excludePairs?: string;
  readonly picture?: string;
  readonly json?: boolean;
  readonly save?: boolean;
}

/** Before and after calibration, side by side. */
function pictureOf({ reliability: { raw, calibrated }, split }: EvaluationReport): string {
  const panel = (name: string, { bins, ece }: typeof raw) => ({
    title: `${name}: ECE ${(100 * ece).toFixed(2)} %`,
    bins,
  });
  const after = calibrated === null ? [] : [panel('calibrated', calibrated)];
  return reliabilitySvg({
    title: `Probabilities on ${split} rows`,
    panels: [panel('sigmoid of the score', raw), ...after],
  });
}

export function printEvaluation(report: EvaluationReport): void {
  out(
    `${report.rows.toLocaleString('en')} ${report.split} rows, labels by ${report.rankedBy}${report.rare === 0 ? '' : `, rare ones favoured by ${report.rare}`} (95 % interval in brackets)`,
  );
  printExcluded(report.excluded);
  const cell = (name: string, e: { value: number; low: number; high: number } | undefined) =>
    e === undefined
      ? ''
      : `  ${name} ${(100 * e.value).toFixed(2).padStart(6)} [${(100 * e.low).toFixed(1)}, ${(100 * e.high).toFixed(1)}]`;
  for (const at of report.at) {
    out(`${cell(`P@${at.k}`, at.precision)}${cell(`nDCG@${at.k}`, at.ndcg)}${cell(`PSP@${at.k}`, at.psp)}`);
  }
  const { perRow, raw, calibrated } = report.reliability;
  const ece = (of: typeof raw) => `${(100 * of.ece).toFixed(2)} %`;
  out(
    `  expected calibration error of the best ${perRow} labels: ${calibrated === null ? `${ece(raw)} (no calibration)` : `${ece(calibrated)}, without calibration ${ece(raw)}`}`,
  );
  const first = report.at[0]?.buckets;
  if (first !== undefined) {
    const share = (name: 'head' | 'torso' | 'tail') =>
      `${name} ${(100 * first[name].precision).toFixed(1)} (finds ${(100 * first[name].recall).toFixed(1)} %)`;
    out(`  P@1 of predictions by label frequency: ${share('head')}, ${share('torso')}, ${share('tail')}`);
  }
}
