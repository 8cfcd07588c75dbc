/** Which parameters of a network a sparse method works on. */
import type { Parameter } from '../../autograd/parameter.js';
import { EspalierError } from '../../errors.js';

export interface Selection {
  /** Names, or beginnings of names up to a dot, that stay as they are. */
  readonly exclude?: readonly string[];
}

export interface Chosen {
  readonly name: string;
  readonly parameter: Parameter;
}

/**
 * The weights of layers: two dimensions at least, a dense gradient, not excluded. Embeddings and, in networks of
 * convolutions, the first of them are left alone unless `exclude` says otherwise (Han et al. 2017, section 3).
 */
export function chooseWeights(
  parameters: Iterable<[string, Parameter]>,
  { exclude }: Selection = {},
): Chosen[] {
  const weights = [...parameters]
    .map(([name, parameter]) => ({ name, parameter }))
    .filter(({ parameter }) => parameter.shape.length >= 2 && parameter.grad !== null);
  const first = weights.find(({ parameter }) => parameter.shape.length === 4);
  const unwanted = exclude ?? [...(first === undefined ? [] : [first.name]), 'embedding'];
  return weights.filter(({ name }) => !unwanted.some((part) => beginsWith(name, part)));
}

/** Whether `name` is `part` or goes on from it after a dot. */
export function beginsWith(name: string, part: string): boolean {
  return name === part || name.startsWith(`${part}.`);
}

/** The error of method `op` that finds another one's work on the parameter `name`. */
export function parametrizationTaken(op: string, name: string, kind: string): EspalierError {
  return new EspalierError({
    code: 'PARAMETRIZATION_TAKEN',
    kind: 'usage',
    op,
    problem: `another method (${kind}) works on ${name} already`,
    hint: 'exclude its layers from one of the two',
  });
}
