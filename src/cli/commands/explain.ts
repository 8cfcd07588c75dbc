import { Command } from 'commander';
import { rowsByLabel } from '../../data/by-label.js';
import { DatasetDirectory } from '../../data/cache.js';
import { selectKernels } from '../../kernels/index.js';
import type { Explanation } from '../../model/explain.js';
import { Model } from '../../model/model.js';
import { checkFits } from '../../model/score.js';
import { whole } from '../options.js';
import { out } from '../terminal.js';

interface ExplainOptions {
  readonly data?: string;
  readonly top: number;
  readonly json?: boolean;
}

export function explainCommand(): Command {
  return new Command('explain')
    .description('what a label is made of: its connections, the labels most alike, its training examples')
    .argument('<model>', 'run directory or model directory')
    .argument('<label>', 'name of the label, or its number after a #')
    .option('--data <dir>', 'dataset directory that it was trained on: shows training examples of the label')
    .option('--top <n>', 'how many of each', whole(1, 1000), 10)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  espalier explain runs/wn dog --data data/wn\n\nWhy an input gets a label: espalier predict --explain',
    )
    .action(explain);
}

async function explain(path: string, name: string, { data, top, json }: ExplainOptions): Promise<void> {
  const model = await Model.load(path, selectKernels());
  const number = /^#(\d+)$/.exec(name)?.[1];
  const byNumber = number !== undefined && !model.labelNames.includes(name);
  const facts = await model.describeLabel(byNumber ? Number(number) : name, top);
  const examples = data === undefined ? null : await examplesOf(data, model, facts.label, top);
  if (json) {
    out(JSON.stringify({ ...facts, examples }));
    return;
  }
  out(`${facts.name} (label ${facts.label}), bias ${facts.bias.toFixed(3)}`);
  out(`strongest of ${facts.connectionCount} connections: hidden unit, weight`);
  for (const { unit, weight } of facts.connections) out(`  ${String(unit).padStart(8)}  ${signed(weight)}`);
  out('labels most alike: cosine of their weights');
  for (const near of facts.neighbours) out(`  ${near.cosine.toFixed(3).padStart(8)}  ${near.name}`);
  if (examples === null) return;
  out(`training examples: ${examples.rows} rows`);
  for (const { row, features } of examples.shown) {
    out(`  row ${row}: ${features.map(({ name: word }) => word).join(' ')}`);
  }
}

/** Rows that train the label, each by its strongest features. */
async function examplesOf(data: string, model: Model, label: number, top: number) {
  const directory = await DatasetDirectory.open(data);
  checkFits({ code: 'EXPLAIN_MISMATCH', op: 'espalier explain' }, model, directory);
  const rows = await directory.load('train');
  const { featureNames } = await directory.names();
  const { begin, rowOf } = rowsByLabel(rows);
  const mine = rowOf.subarray(begin[label], begin[label + 1]);
  const shown = [...mine.subarray(0, top)].map((row) => {
    const entries: { name: string; value: number }[] = [];
    for (let e = rows.indptr[row]; e < rows.indptr[row + 1]; e++) {
      const index = rows.indices[e];
      entries.push({ name: featureNames?.[index] ?? String(index), value: rows.values[e] });
    }
    return { row, features: entries.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 12) };
  });
  return { rows: mine.length, shown };
}

const signed = (x: number): string => `${x < 0 ? '' : '+'}${x.toFixed(3)}`;

/** Remembered rows that are shown. */
const rowsShown = 3;

function votesOf(votes: Explanation['votes'], how: string): string[] {
  if (votes === null || votes.contribution === 0) return [];
  const lines = votes.rows
    .slice(0, rowsShown)
    .map(
      ({ row, cosine, features }) =>
        `${''.padStart(9)}    row ${row}, cosine ${cosine.toFixed(2)}${features === null ? '' : `: ${features.join(' ')}`}`,
    );
  return [`${signed(votes.contribution).padStart(9)}  ${how}`, ...lines];
}

/** An explanation in lines: what spoke for and against, and what every input gets. */
export function because(why: Explanation): string[] {
  const lines = why.features.map(
    ({ name, feature, contribution }) =>
      `${signed(contribution).padStart(9)}  ${name ?? `feature ${feature}`}`,
  );
  const others = why.counts.features - why.features.length;
  const remark = why.method === 'exact' ? '' : ' (to first order: the encoder is not linear)';
  const rest = others > 0 ? `, ${others} weaker features left out` : '';
  return [
    ...lines,
    `${signed(why.base).padStart(9)}  whatever the input says${remark}`,
    ...votesOf(why.votes, 'remembered rows that are like it'),
    ...votesOf(why.featureVotes, 'remembered rows that have most features in common with it'),
    ...(why.labelText ? [`${signed(why.labelText).padStart(9)}  it is called by words of the input`] : []),
    ...(why.namesake ? [`${signed(why.namesake).padStart(9)}  it is called as the input is`] : []),
    `${signed(why.score).padStart(9)}  score${rest}`,
  ];
}
