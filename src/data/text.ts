/** Text as a stream of symbols for language models: characters by number, and batches of parallel streams. */
import { readFile } from 'node:fs/promises';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';

export interface CharacterText {
  /** The symbols in the order of their code points: symbol i is `alphabet[i]`. */
  readonly alphabet: readonly string[];
  readonly symbols: Uint16Array;
}

/** Reads a UTF-8 text as characters (code points). */
export async function readText(file: string): Promise<CharacterText> {
  const text = await withFileErrors('readText', file, () => readFile(file, 'utf8'));
  return characters(text, file);
}

/**
 * Numbers the characters of a text.
 * @throws EspalierError `TEXT_EMPTY`, `TEXT_ALPHABET`
 */
export function characters(text: string, file?: string): CharacterText {
  const alphabet = [...new Set(text)].sort(
    (a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number),
  );
  if (alphabet.length === 0 || alphabet.length > 0xffff) {
    throw new EspalierError({
      code: alphabet.length === 0 ? 'TEXT_EMPTY' : 'TEXT_ALPHABET',
      kind: 'data',
      op: 'characters',
      problem: alphabet.length === 0 ? 'the text is empty' : 'the text has too many different characters',
      expected: '1 to 65,535 different characters',
      received: `${alphabet.length}`,
      file,
    });
  }
  const numbers = new Map(alphabet.map((character, i) => [character, i]));
  return { alphabet, symbols: Uint16Array.from(text, (character) => numbers.get(character) as number) };
}

/** Cuts a stream into training, validation and test parts that follow each other. */
export function cutText(symbols: Uint16Array, validation = 0.05, test = 0.05) {
  const first = Math.floor(symbols.length * (1 - validation - test));
  const second = Math.floor(symbols.length * (1 - test));
  return {
    train: symbols.subarray(0, first),
    validation: symbols.subarray(first, second),
    test: symbols.subarray(second),
  };
}

/**
 * A text as `batch` streams side by side, read `steps` symbols at a time (truncated backpropagation through time): the
 * state of stream b after one piece is its state before the next. Every piece knows the symbol that follows each.
 */
export class TextStreams {
  readonly batch: number;
  readonly steps: number;
  /** Pieces of one pass over the text; what is left over at the end of the streams is not read. */
  readonly pieces: number;
  readonly #symbols: Uint16Array;
  readonly #length: number;

  constructor(symbols: Uint16Array, batch: number, steps: number) {
    this.batch = batch;
    this.steps = steps;
    this.#symbols = symbols;
    this.#length = Math.floor((symbols.length - 1) / batch);
    this.pieces = Math.floor(this.#length / steps);
    if (!(this.pieces >= 1)) {
      throw new EspalierError({
        code: 'TEXT_SHORT',
        kind: 'usage',
        op: 'TextStreams',
        problem: 'the text is too short for one piece',
        expected: `at least ${batch * steps + 1} symbols for ${batch} streams of ${steps}`,
        received: `${symbols.length}`,
      });
    }
  }

  /** Piece `piece`, step-major: inputs[t * batch + b] is followed by targets[t * batch + b]. */
  fill(piece: number, inputs: Uint32Array, targets: Uint32Array): void {
    for (let b = 0; b < this.batch; b++) {
      let from = b * this.#length + piece * this.steps;
      for (let t = 0; t < this.steps; t++, from++) {
        inputs[t * this.batch + b] = this.#symbols[from];
        targets[t * this.batch + b] = this.#symbols[from + 1];
      }
    }
  }
}
