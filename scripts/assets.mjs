/** What the compiler leaves behind: pages, styles, scripts of browsers, and the program's right to be run. */
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

for (const folder of ['serve/page']) {
  cpSync(new URL(`../src/${folder}`, import.meta.url), new URL(`../dist/${folder}`, import.meta.url), {
    recursive: true,
  });
}

// The dashboard: one script and one style, put into the page by the server, which knows both by their hash.
const page = new URL('../src/ui/page/', import.meta.url);
const built = new URL('../dist/ui/page/', import.meta.url);
const { output } = await build({
  configFile: false,
  root: fileURLToPath(page),
  logLevel: 'warn',
  build: {
    write: false,
    target: 'es2022',
    modulePreload: false,
    rollupOptions: { input: fileURLToPath(new URL('main.tsx', page)), output: { format: 'es' } },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
mkdirSync(built, { recursive: true });
const script = output.filter(({ type }) => type === 'chunk').map(({ code }) => code);
const style = output.filter(({ fileName }) => fileName.endsWith('.css')).map(({ source }) => String(source));
if (script.length !== 1 || style.length !== 1)
  throw new Error('the dashboard is not one script and one style');
// Inside a page, these would end the script or begin a comment.
writeFileSync(new URL('page.js', built), script[0].replace(/<(?=\/script|!--)/g, '\\x3c'));
writeFileSync(new URL('page.css', built), style[0]);
writeFileSync(new URL('page.html', built), readFileSync(new URL('page.html', page)));

// npm sets this when it links the program, and not again after the next build: `npx espalier` would be refused then.
chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755);
