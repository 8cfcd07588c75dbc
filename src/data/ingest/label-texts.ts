/** What labels mean in words, from a file of its own: columns `label` and `text`, in any order, of some labels or all. */
import { EspalierError } from '../../errors.js';
import { checkColumns, formatOf, Notices, openSource } from '../readers/index.js';
import { tabular } from './walk.js';

const columns = ['label', 'text'];

export interface LabelTexts {
  /** [labels] The name where the file has no text. */
  readonly texts: readonly string[];
  /** Labels that the file has a text of. */
  readonly found: number;
}

/**
 * Texts for the labels `names`; those of other labels are passed over.
 *
 * @throws EspalierError `DATA_COLUMN` without both columns, `DATA_LABEL_TEXT` for a value that is no text and for a second
 *   text of a label, and what the readers throw
 */
export async function readLabelTexts(file: string, names: readonly string[]): Promise<LabelTexts> {
  const source = openSource(file, tabular(formatOf(file), file), new Notices());
  checkColumns(file, columns, await source.columns());
  const places = new Map(names.map((name, label) => [name, label]));
  const texts: (string | undefined)[] = new Array(names.length);
  let found = 0;
  for await (const { rows, lines } of source.batches(columns)) {
    for (const [r, [name, text]] of rows.entries()) {
      const refuse = (problem: string, expected: string, received: unknown) =>
        new EspalierError({
          ...{ code: 'DATA_LABEL_TEXT', kind: 'data', op: 'espalier data', problem, expected },
          ...{ received: String(JSON.stringify(received)).slice(0, 80), file, line: lines[r] },
        });
      if (typeof name !== 'string' && typeof name !== 'number')
        throw refuse('a row has no label', 'a text or a number', name);
      if (typeof text !== 'string') throw refuse('what a label means is no text', 'a text', text);
      const label = places.get(String(name));
      if (label === undefined) continue;
      if (texts[label] !== undefined)
        throw refuse('a label has two texts', 'one row for each label', String(name));
      texts[label] = text;
      found++;
    }
  }
  return { texts: names.map((name, label) => texts[label] ?? name), found };
}
