/** The page to try a model: one document with everything inside, whose scripts and styles are known by their hash. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

export interface Page {
  readonly html: string;
  /** Content-Security-Policy: nothing but this document and this server. */
  readonly policy: string;
}

/** The page of files in `folder`: `page.html` with a place for the styles, one behind the other, and one for `page.js`. */
export async function readPage(
  folder = new URL('./page/', import.meta.url),
  styles: readonly string[] = ['base.css', 'page.css'],
): Promise<Page> {
  const [html, script, ...sheets] = await Promise.all(
    ['page.html', 'page.js', ...styles].map((name) => readFile(new URL(name, folder), 'utf8')),
  );
  const style = sheets.join('');
  const whole = html
    .replace('<!-- style -->', () => `<style>${style}</style>`)
    .replace('<!-- script -->', () => `<script type="module">${script}</script>`);
  const policy = [
    "default-src 'none'",
    `style-src ${hashOf(style)}`,
    `script-src ${hashOf(script)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return { html: whole, policy: policy.join('; ') };
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
