/** Chromium for tests of pages, where one is installed. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

export const chromium = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
  .filter((path) => path !== undefined)
  .find((path) => existsSync(path));

// Set it to keep pictures of what the tests saw.
const pictures = process.env.ESPALIER_SCREENSHOTS;

// playwright-core has no types without the DOM library.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Loose = any;

export interface Opened {
  readonly page: Loose;
  /** What the page threw or logged as an error. */
  readonly faults: readonly string[];
  close(): Promise<void>;
}

export interface Browser {
  open(url: string, width?: number, colorScheme?: 'light' | 'dark'): Promise<Opened>;
  close(): Promise<void>;
}

export async function startBrowser(): Promise<Browser> {
  const { chromium: launcher } = await import('playwright-core');
  const browser: Loose = await launcher.launch({ executablePath: chromium, args: ['--no-sandbox'] });
  return {
    open: async (url, width = 1280, colorScheme = 'light') => {
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const page = await context.newPage();
      page.setDefaultTimeout(55_000);
      const faults: string[] = [];
      page.on('pageerror', (error: Error) => faults.push(error.message));
      page.on('console', (message: { type(): string; text(): string }) => {
        if (message.type() === 'error') faults.push(message.text());
      });
      await page.goto(url);
      return { page, faults, close: () => context.close() };
    },
    close: () => browser.close(),
  };
}

/** A wide and a narrow window, by day and by night. */
export const windows = [1280, 400].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

/** How many pixels the page is wider than its window, and which of ink and paper is the brighter. */
export async function looksOf(
  page: Loose,
): Promise<{ readonly overflow: number; readonly scheme: 'light' | 'dark' }> {
  const overflow = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
  const [ink, paper] = await page.evaluate(
    '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
  );
  return { overflow, scheme: brightness(ink) < brightness(paper) ? 'light' : 'dark' };
}

/** Keeps a picture where pictures are wanted. */
export async function picture(page: Loose, name: string, fullPage = true): Promise<void> {
  if (pictures === undefined) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage });
}

/** Sum of the channels of `rgb(r, g, b)`. */
const brightness = (color: string): number =>
  [...color.matchAll(/\d+/g)].slice(0, 3).reduce((sum, [channel]) => sum + Number(channel), 0);
