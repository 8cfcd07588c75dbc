/** JSON Lines: one JSON value a line, so that names may contain anything, line breaks included. */
import { EspalierError } from '../errors.js';

export function toJsonLines(values: readonly unknown[]): string {
  // An array keeps long lists off one growing string; the last line ends too.
  return values.length === 0 ? '' : `${values.map((value) => JSON.stringify(value)).join('\n')}\n`;
}

/** The values of all lines; empty lines at the end do not count. Throws `JSON_LINES` with the place. */
export function parseJsonLines(text: string, file?: string): unknown[] {
  const lines = text.split('\n');
  while (lines.length > 0 && lines[lines.length - 1].trim() === '') lines.pop();
  return lines.map((line, i) => {
    try {
      return JSON.parse(line);
    } catch (cause) {
      throw new EspalierError({
        code: 'JSON_LINES',
        kind: 'data',
        op: 'parseJsonLines',
        problem: 'a line is not JSON',
        expected: 'one JSON value on each line',
        received: line.slice(0, 80),
        file,
        line: i + 1,
        cause,
      });
    }
  });
}
