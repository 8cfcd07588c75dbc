/** `espalier.json`: what a model directory holds. */
import { EspalierError } from '../errors.js';
import { damaged, decodeJson, isPlain } from './json.js';

export const manifestName = 'espalier.json';
export const labelsName = 'labels.jsonl';

/** Newest format that this release reads and the one it writes. */
const newest = 1;

/** No separators, no leading dot: a name out of a manifest never leaves its directory. */
export const plainFileName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export interface ModelManifest {
  readonly format: 'espalier-model';
  readonly version: number;
  /** Of the software that trained it. */
  readonly versions: Readonly<Record<string, string>>;
  /** How many labels have names in labels.jsonl; null: labels are numbers only. */
  readonly labels: number | null;
  readonly config: unknown;
  readonly metrics: unknown;
  /** Every other file of the directory. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** Members that this release does not know are allowed; a newer format is not. */
export function parseManifest(op: string, text: string, file: string): ModelManifest {
  const found = decodeJson(op, text, file);
  if (found.format !== 'espalier-model' || !Number.isSafeInteger(found.version)) {
    throw damaged(op, file, undefined, 'this is not the description of a model', text.slice(0, 40));
  }
  if ((found.version as number) > newest || (found.version as number) < 1) {
    const trainedWith = isPlain(found.versions) ? found.versions.espalier : undefined;
    throw new EspalierError({
      code: 'MODEL_VERSION',
      kind: 'data',
      op,
      problem: 'the model has a format that this release does not know',
      expected: `version 1 to ${newest}`,
      received: `version ${found.version}`,
      hint: `update Espalier${typeof trainedWith === 'string' ? ` to ${trainedWith} or newer` : ''}`,
      file,
    });
  }
  const { files, versions, labels } = found;
  const labelsSound = labels === null || (Number.isSafeInteger(labels) && (labels as number) >= 0);
  if (!isPlain(files) || !isPlain(versions) || !labelsSound) {
    throw damaged(op, file, undefined, 'files, versions or labels are missing or of the wrong kind');
  }
  for (const [name, entry] of Object.entries(files)) {
    const sound =
      plainFileName.test(name) &&
      isPlain(entry) &&
      Number.isSafeInteger(entry.bytes) &&
      /^[0-9a-f]{64}$/.test(String(entry.sha256));
    if (!sound) throw damaged(op, file, undefined, 'a file is not described soundly', JSON.stringify(name));
  }
  return found as unknown as ModelManifest;
}
