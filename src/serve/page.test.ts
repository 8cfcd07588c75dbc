/** The page in a real browser: Chromium, where one is installed. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Served, startServer, stopServers } from './serving.testing.js';

const chromium = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
  .filter((path) => path !== undefined)
  .find((path) => existsSync(path));
// Set it to keep pictures of what the tests saw.
const pictures = process.env.ESPALIER_SCREENSHOTS;

describe.skipIf(chromium === undefined)('the page, in Chromium (skipped where none is installed)', () => {
  let served: Served;
  // playwright-core has no types without the DOM library.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  let browser: any;

  beforeAll(async () => {
    const { chromium: launcher } = await import('playwright-core');
    browser = await launcher.launch({ executablePath: chromium, args: ['--no-sandbox'] });
    served = await startServer();
    if (pictures !== undefined) await mkdir(pictures, { recursive: true });
  });
  afterAll(async () => {
    await browser?.close();
    await stopServers();
  });

  const sizes = [1280, 400].flatMap((width) =>
    (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
  );
  it.each(sizes)('asks, explains and highlights by keyboard alone: %o', async ({ width, colorScheme }) => {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const faults: string[] = [];
    page.on('pageerror', (error: Error) => faults.push(error.message));
    page.on('console', (message: { type(): string; text(): string }) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    await page.goto(served.url);
    await page.waitForSelector('textarea:focus');
    await page.keyboard.type('Prune the apple tree on its trellis <b>wire</b>');
    await page.keyboard.press('Control+Enter');
    await page.waitForSelector('#labels button');
    expect(await page.locator('#labels button').count()).toBe(5);
    expect(await page.locator('#labels .name').first().textContent()).toMatch(/^label "\d+" ŕ$/);
    await page.locator('#labels button').first().focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#neighbours li');
    expect(await page.locator('#labels button').nth(1).getAttribute('aria-pressed')).toBe('true');
    expect(await page.locator('mark').allTextContents()).toEqual([
      'Prune',
      'apple',
      'tree',
      'trellis',
      'wire',
    ]);
    // What the user wrote stays text.
    expect(await page.locator('#marked b').count()).toBe(0);
    expect(await page.locator('#marked').textContent()).toContain('<b>wire</b>');
    const overflow = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
    expect(overflow).toBeLessThanOrEqual(0);
    const [ink, paper] = await page.evaluate(
      '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
    );
    expect(brightness(ink) < brightness(paper)).toBe(colorScheme === 'light');
    if (pictures !== undefined) {
      await page.screenshot({ path: join(pictures, `page-${width}-${colorScheme}.png`), fullPage: true });
    }
    expect(faults).toEqual([]);
    await context.close();
  });

  it('shows a refusal with its hint, and goes on', async () => {
    const page = await browser.newPage();
    await page.goto(served.url);
    await page.waitForSelector('textarea');
    await page.evaluate("document.getElementById('k').removeAttribute('max')");
    await page.fill('#k', '5000');
    await page.click('#go');
    await page.waitForSelector('#problem:not([hidden])');
    expect(await page.locator('#problem').textContent()).toMatch(/k: /);
    await page.fill('#k', '3');
    await page.click('#go');
    await page.waitForSelector('#labels button');
    expect(await page.locator('#problem').isHidden()).toBe(true);
    await page.close();
  });
});

/** Sum of the channels of `rgb(r, g, b)`. */
const brightness = (color: string): number =>
  [...color.matchAll(/\d+/g)].slice(0, 3).reduce((sum, [channel]) => sum + Number(channel), 0);
