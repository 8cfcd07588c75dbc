/** Evaluations in a run: `evaluations/<split>.json`. What comes from the file is cut to what can be shown. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../files.js';
import type { Evaluation } from './types.js';

const folder = 'evaluations';
const mostBytes = 8 << 20;

const figure = z.number().nullable();
const named = z.object({ label: z.number(), name: z.string() });
const interval = z.object({ value: figure, low: figure, high: figure });
const bucket = z.object({ precision: figure, recall: figure, contribution: figure });
const evaluation = z.object({
  format: z.literal('espalier-evaluation'),
  version: z.literal(1),
  split: z.string().max(64),
  rows: z.number(),
  model: z.string().max(256),
  at: z
    .array(
      z.object({
        ...{ k: z.number(), precision: interval, ndcg: interval, psp: interval.nullable() },
        buckets: z.object({ head: bucket, torso: bucket, tail: bucket }).nullable(),
      }),
    )
    .max(16),
  confusion: z
    .object({
      wrongRows: z.number(),
      pairs: z
        .array(z.object({ truth: named, predicted: named, count: z.number(), cosine: figure }))
        .max(200),
      labels: z.array(named).max(64),
      counts: z.array(z.array(z.number()).max(64)).max(64),
    })
    .nullable(),
  samples: z
    .array(
      z.object({
        text: z.string().nullable(),
        truth: z.array(named).max(100),
        predictions: z
          .array(z.object({ ...named.shape, score: figure, probability: figure, right: z.boolean() }))
          .max(100),
      }),
    )
    .max(100),
});

/** Writes an evaluation into the run; returns its path. */
export async function saveEvaluation(run: string, content: Evaluation): Promise<string> {
  const path = join(run, folder, `${content.split}.json`);
  await writeFileAtomic(
    path,
    `${JSON.stringify({ format: 'espalier-evaluation', version: 1, ...content })}\n`,
  );
  return path;
}

/** All evaluations of a run, and what is wrong with files that are none. */
export async function readEvaluations(
  run: string,
): Promise<{ readonly evaluations: Evaluation[]; readonly problems: string[] }> {
  const names = (await readdir(join(run, folder)).catch(() => [] as string[])).filter((n) =>
    /^[\w-]{1,40}\.json$/.test(n),
  );
  const evaluations: Evaluation[] = [];
  const problems: string[] = [];
  for (const name of names.sort().slice(0, 8)) {
    const path = join(run, folder, name);
    try {
      if ((await stat(path)).size > mostBytes) throw new Error(`it is larger than ${mostBytes} bytes`);
      const {
        format: _,
        version: __,
        ...content
      } = evaluation.parse(JSON.parse(await readFile(path, 'utf8')));
      evaluations.push(content);
    } catch (error) {
      const why = error instanceof z.ZodError ? error.issues[0].message : (error as Error).message;
      problems.push(`${folder}/${name} is no evaluation: ${why.slice(0, 120)}`);
    }
  }
  return { evaluations, problems };
}
