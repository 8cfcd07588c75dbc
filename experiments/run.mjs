/**
 * `npm run experiment -- NAME`: runs the cells of an experiment one by one, each in its own process, keeps every
 * result in `experiments/cells/NAME/`, and writes the table to `docs/results/NAME.md`. Stop it whenever you like: what
 * is done stays done, and the next call goes on; results are kept with the project, so that others can go on too.
 * `--only TEXT` runs the cells whose name holds TEXT, `--table` only writes the table, `--list` only lists the cells.
 * `--data DIR` is where images and texts lie (default ../shared/data); `--download` fetches the standard sets that the
 * cells need into it, checked, where they are missing.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { data } from '../dist/index.js';
import { activations } from './activations.mjs';
import { amazon } from './amazon.mjs';
import { buildWords, wordDatasets } from './corpora/words.mjs';
import { defaults } from './defaults.mjs';
import { dsd } from './dsd.mjs';
import { extreme } from './extreme.mjs';
import { fanIn } from './fan-in.mjs';
import { gates } from './gates.mjs';
import { labelRows } from './label-rows.mjs';
import { newLabels } from './new-labels.mjs';
import { rare } from './rare.mjs';
import { regression } from './regression.mjs';
import { remember } from './remember.mjs';
import { settings } from './settings.mjs';
import { words } from './words.mjs';

const experiments = {
  ...{ activations, defaults, dsd, 'fan-in': fanIn, words, regression, gates },
  ...{
    extreme,
    'amazon-3m': amazon,
    'new-labels': newLabels,
    'label-rows': labelRows,
    rare,
    remember,
    settings,
  },
};
const root = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv.indexOf('--data');
if (given > 0) process.env.ESPALIER_DATA = resolve(process.argv[given + 1]);
process.chdir(root);

const [name, ...flags] = process.argv.slice(2);
const experiment = experiments[name];
if (experiment === undefined) {
  console.error(
    `usage: npm run experiment -- ${Object.keys(experiments).join(' | ')} [--only TEXT] [--data DIR] [--download] [--table] [--list]`,
  );
  process.exit(2);
}
const only = flags.includes('--only') ? flags[flags.indexOf('--only') + 1] : '';
// Tries at other sizes are no results of the project.
const kept = join(experiment.documents === false ? '.cache/experiments' : 'experiments/cells', name);
const cache = join('.cache/experiments', name);
for (const folder of [kept, cache]) await mkdir(folder, { recursive: true });
/** What a cell leaves for ensembles it is a member of. */
const listsOf = (cell) => join(cache, `${nameOf(cell)}.lists`);

if (flags.includes('--download')) {
  const wanted = new Set(
    experiment.cells.map(({ images }) => images).filter((images) => images !== undefined),
  );
  for (const set of wanted) {
    const onFile = (file, what) => console.error(`${set}/${file}: ${what}`);
    await data.downloadDataset(set, join(process.env.ESPALIER_DATA ?? '../shared/data', set), { onFile });
  }
}

const results = [];
for (const cell of experiment.cells) {
  const file = join(kept, `${nameOf(cell)}.json`);
  const done = existsSync(file);
  if (flags.includes('--list')) console.log(`${done ? 'done' : 'open'}  ${cell.name}`);
  if (!done && !flags.includes('--list') && !flags.includes('--table') && cell.name.includes(only)) {
    if (cell.dataset !== undefined) await prepare(cell.dataset);
    console.error(`${cell.name} ...`);
    const members = cell.members?.map((name) =>
      listsOf(experiment.cells.find((other) => other.name === name)),
    );
    const gone = members?.find((path) => !existsSync(path));
    if (gone !== undefined) {
      console.error(`  left out: ${gone} is missing; run that cell again for it`);
      continue;
    }
    const config = { ...cell.config, data: join('data', cell.dataset ?? '') };
    const lists = cell.member ? listsOf(cell) : undefined;
    const line = await runCell(
      cell.module === undefined
        ? {
            config,
            split: cell.split ?? 'test',
            ks: cell.ks,
            lists,
            rares: cell.rares,
            remember: cell.remember,
          }
        : { ...cell, members },
    );
    JSON.parse(line); // a result that was cut short is none
    await writeFile(`${file}.tmp`, `${line}\n`);
    await rename(`${file}.tmp`, file);
  }
  if (existsSync(file)) results.push({ cell, result: JSON.parse(await readFile(file, 'utf8')) });
}
if (!flags.includes('--list') && results.length > 0) {
  const text = experiment.table(results);
  // Tries at other sizes are shown, not kept.
  if (experiment.documents !== false) {
    await mkdir('docs/results', { recursive: true });
    await writeFile(join('docs/results', `${name}.md`), text);
    for (const [file, svg] of Object.entries(experiment.plots?.(results) ?? {}))
      await writeFile(join('docs/results', file), svg);
  }
  console.log(text);
}

/** The settings are part of the name of a kept result: changed settings never meet old figures. */
function nameOf(cell) {
  const digest = createHash('sha256').update(JSON.stringify(cell)).digest('hex').slice(0, 12);
  return `${cell.name}-${digest}`;
}

async function prepare(dataset) {
  const path = join('data', dataset);
  // WordNet's came without texts of labels once, and then with the first of their words alone.
  const isWordnet = dataset.startsWith('wordnet');
  const last = join(path, isWordnet ? 'labels.texts.jsonl' : 'dataset.json');
  if (existsSync(last) && !(isWordnet && isOfFirstWords(await readFile(last, 'utf8')))) return;
  if (wordDatasets.includes(dataset)) await buildWords(dataset, path);
  else await data.buildDataset(dataset, path);
}

function isOfFirstWords(texts) {
  return !texts.includes('"dog domestic dog Canis familiaris"');
}

function runCell(cell) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['experiments/cell.mjs', JSON.stringify(cell)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (part) => {
      out += part;
    });
    child.on('close', (code) =>
      code === 0 ? resolve(out.trim()) : reject(new Error(`the cell ended with code ${code}`)),
    );
  });
}
