import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const number = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1]);

/** What each program must say when it does what it is there to show. */
const examples: Readonly<Record<string, (said: string) => void>> = {
  'tag-suggestion.mjs': (said) => {
    expect(number(said, /(\d+) tags/)).toBeGreaterThan(1000);
    expect(said).toContain('a genus of tropical birds: bird genus');
  },
  'product-search.mjs': (said) => {
    // As it is called, as it is described, and misspelt.
    const found = [...said.matchAll(/finds ([^|\n]+)/g)].map(([, first]) => first.trim());
    expect(found).toHaveLength(3);
    expect(new Set(found).size).toBe(1);
    expect(said).toContain(`looked for: ${found[0].split(' #')[0]}`);
  },
  'next-word.mjs': (said) => {
    expect(said).toMatch(/the act of \.\.\. (.*, )?(a|the)\b/);
    expect(number(said, /(\d+) words/)).toBeGreaterThan(10_000);
  },
  'image-mlp-with-gates.mjs': (said) => {
    const [dense, sparse] = [number(said, /(\d+) KiB dense/), number(said, /(\d+) KiB sparse/)];
    expect(sparse).toBeLessThan(dense / 2);
    expect(number(said, /accuracy ([\d.]+) %/)).toBeGreaterThan(80);
    expect(number(said, /sparse file ([\d.]+) %/)).toBeCloseTo(number(said, /accuracy ([\d.]+) %/), 0);
  },
  'custom-output-layer.mjs': (said) => {
    expect(number(said, /right for ([\d.]+) %/)).toBeGreaterThan(90);
  },
};

describe('every example runs and shows what it is for', () => {
  it('all of them are here', () => {
    const files = readdirSync(`${root}/examples`).filter((name) => name.endsWith('.mjs'));
    expect(files.sort()).toEqual(Object.keys(examples).sort());
  });

  it.each(Object.entries(examples))('%s', { timeout: 180_000 }, async (name, check) => {
    const { stdout } = await promisify(execFile)(process.execPath, [`examples/${name}`], { cwd: root });
    check(stdout);
  });
});
