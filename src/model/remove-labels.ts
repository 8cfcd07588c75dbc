/** A saved model without some of its labels: nothing is trained, and the logits of the others stay as they are. */
import { EspalierError, suggest } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import type { SavedModel } from '../store/index.js';
import { mapCalibration } from './calibration.js';
import { mapFrequencies } from './frequencies.js';
import { loadClassifier, saveChanged } from './model-io.js';
import { savedRows, withLabels } from './remembered/file.js';

export interface RemovedLabels {
  readonly saved: SavedModel;
  readonly removed: number;
  readonly left: number;
}

/**
 * Saves the model of `path` in the run directory `out`, without the labels `names` (numbers where labels have no
 * names). What was measured of the old model is left out.
 *
 * @throws EspalierError `LABEL_UNKNOWN` for a name that the model does not have, `LABELS_NONE_LEFT`
 * @example await removeLabels('runs/a', ['obsolete tag'], 'runs/b', selectKernels());
 */
export async function removeLabels(
  path: string,
  names: readonly string[],
  out: string,
  kernels: Kernels,
): Promise<RemovedLabels> {
  const loaded = await loadClassifier(path, kernels);
  const { classifier, labelNames, shape } = loaded;
  const known =
    labelNames.length > 0 ? labelNames : Array.from({ length: shape.labels }, (_, l) => String(l));
  const places = new Map(known.map((name, label) => [name, label]));
  const gone = new Set<number>();
  for (const name of names) {
    const label = places.get(name);
    if (label === undefined) throw unknown(name, known);
    gone.add(label);
  }
  const map = Int32Array.from({ length: shape.labels }, (_, l) => l).filter((l) => !gone.has(l));
  if (map.length === 0) {
    throw new EspalierError({
      code: 'LABELS_NONE_LEFT',
      kind: 'usage',
      op: 'removeLabels',
      problem: 'no label would be left',
      expected: 'at least one of the labels to stay',
    });
  }
  classifier.resizeLabels(map);
  const saved = await saveChanged(out, loaded, {
    metrics: { validation: null },
    labelNames: labelNames.length === 0 ? undefined : Array.from(map, (l) => labelNames[l]),
    calibration: loaded.calibration === null ? null : mapCalibration(loaded.calibration, map),
    frequencies: loaded.frequencies === null ? null : mapFrequencies(loaded.frequencies, map),
    remembered: withLabels(savedRows(loaded.remembered), map),
  });
  return { saved, removed: gone.size, left: map.length };
}

function unknown(name: string, known: readonly string[]): EspalierError {
  const near = suggest(name, known);
  return new EspalierError({
    code: 'LABEL_UNKNOWN',
    kind: 'usage',
    op: 'removeLabels',
    problem: `the model has no label ${JSON.stringify(name.slice(0, 80))}`,
    expected: `one of its ${known.length} labels`,
    hint: near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
  });
}
