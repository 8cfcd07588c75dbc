/** The dashboard in a real browser: Chromium, where one is installed; and the size of what it loads. */
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evilName, fakeLog, makeRun } from '../reports/run.testing.js';
import { type RunningUi, startUi } from './server.js';

const built = new URL('../../dist/ui/page/', import.meta.url);

it('the built page is below 60 kB, compressed', async () => {
  const parts = await Promise.all(
    ['page.html', 'page.css', 'page.js'].map((name) => readFile(new URL(name, built))),
  );
  const bytes = gzipSync(Buffer.concat(parts)).length;
  expect(bytes).toBeGreaterThan(5_000);
  expect(bytes).toBeLessThan(60_000);
});

const chromium = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
  .filter((path) => path !== undefined)
  .find((path) => existsSync(path));
const patient = { timeout: 30_000 };
// Set it to keep pictures of what the tests saw.
const pictures = process.env.ESPALIER_SCREENSHOTS;

describe.skipIf(chromium === undefined)(
  'the dashboard, in Chromium (skipped where none is installed)',
  () => {
    let home: string;
    let ui: RunningUi;
    // playwright-core has no types without the DOM library.
    // biome-ignore lint/suspicious/noExplicitAny: see above
    let browser: any;

    /** A run that seems to train now. */
    const makeTraining = () =>
      makeRun(join(home, 'training'), {
        taken: 150,
        seed: 0.7,
        evaluated: false,
        began: Date.now() - 20_000,
      });

    beforeAll(async () => {
      home = await mkdtemp(join(tmpdir(), 'espalier-dashboard-'));
      await makeRun(join(home, 'fan-in-128'), { began: 1_700_000_050_000 });
      await makeRun(join(home, evilName.replaceAll('/', '')), { seed: 1.5, began: 1_700_000_100_000 });
      await makeTraining();
      await makeRun(join(home, 'dense'), { seed: 2, output: { kind: 'dense' } });
      const { chromium: launcher } = await import('playwright-core');
      browser = await launcher.launch({ executablePath: chromium, args: ['--no-sandbox'] });
      ui = await startUi({ runs: [home], port: 0, page: built, pollMs: 100 });
      if (pictures !== undefined) await mkdir(pictures, { recursive: true });
    });
    afterAll(async () => {
      await browser?.close();
      await ui?.close();
      await rm(home, { recursive: true, force: true });
    });

    const open = async (width: number, colorScheme: 'light' | 'dark', url = ui.url) => {
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
    };

    const sizes = [1280, 400].flatMap((width) =>
      (['light', 'dark'] as const).map((scheme) => [width, scheme] as const),
    );
    it.each(sizes)('shows runs side by side and one in depth at %i px, %s', async (width, scheme) => {
      const { page, faults, close } = await open(width, scheme);
      await page.waitForSelector('.u-over');
      await page.waitForSelector('section[aria-label="Topology"] .chart svg');
      expect(await page.locator('.runs li').count()).toBe(4);
      expect(await page.locator('.facts thead th').count()).toBe(4);
      await page.locator('.runs label', { hasText: 'fan-in-128' }).locator('input').focus();
      // By keyboard: off and on again, and on to the next.
      await page.keyboard.press('Space');
      await expect.poll(() => page.locator('.facts thead th').count(), patient).toBe(3);
      await page.keyboard.press('Space');
      await expect.poll(() => page.locator('.facts thead th').count(), patient).toBe(4);
      await page.locator('.plot').first().focus();
      await page.keyboard.press('Home');
      await page.waitForSelector('.at');
      expect(await page.locator('.at').first().textContent()).toBe('step 1');
      await page.keyboard.press('End');
      await expect.poll(() => page.locator('.at').first().textContent(), patient).toBe('step 400');
      await page.selectOption('.focus select', { label: 'fan-in-128' });
      await page.waitForSelector('.matrix');
      // Names stay text.
      expect(await page.title()).toBe('Espalier: runs');
      expect(await page.locator('.matrix', { hasText: evilName }).count()).toBe(1);
      expect(
        await page.evaluate('document.documentElement.scrollWidth - window.innerWidth'),
      ).toBeLessThanOrEqual(0);
      const [ink, paper] = await page.evaluate(
        '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
      );
      expect(brightness(ink) < brightness(paper)).toBe(scheme === 'light');
      if (pictures !== undefined) {
        await page.screenshot({ path: join(pictures, `ui-${width}-${scheme}.png`), fullPage: true });
      }
      expect(faults).toEqual([]);
      await close();
    });

    it('draws what a training run writes, while it writes', async () => {
      await makeTraining();
      const { page, faults, close } = await open(1280, 'light');
      const steps = () => page.locator('.runs li', { hasText: 'training' }).locator('.status').textContent();
      await page.waitForSelector('.live.on');
      await expect.poll(steps, patient).toMatch(/running 37 %/);
      const lines = fakeLog({ taken: 200, seed: 0.7, began: Date.now() - 20_000 }).slice(1);
      const at = lines.findIndex((line) => line.includes('"step":151,'));
      for (let i = at; i < lines.length; i += 16) {
        await appendFile(join(home, 'training/log.jsonl'), `${lines.slice(i, i + 16).join('\n')}\n`);
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      await expect.poll(steps, patient).toMatch(/running 50 %/);
      await makeRun(join(home, 'newcomer'), { taken: 3, evaluated: false });
      await page.waitForSelector('.runs li:nth-child(5)');
      expect(faults).toEqual([]);
      await close();
    });

    it('says what to do where there are no runs', async () => {
      const nothing = await mkdtemp(join(tmpdir(), 'espalier-nothing-'));
      const empty = await startUi({ runs: [nothing], port: 0, page: built });
      const { page, close } = await open(400, 'dark', empty.url);
      await page.waitForSelector('.empty.first');
      expect(await page.locator('.empty.first').textContent()).toContain('espalier train');
      if (pictures !== undefined) await page.screenshot({ path: join(pictures, 'ui-empty.png') });
      await close();
      await empty.close();
      await rm(nothing, { recursive: true });
    });
  },
);

/** Sum of the channels of `rgb(r, g, b)`. */
const brightness = (color: string): number =>
  [...color.matchAll(/\d+/g)].slice(0, 3).reduce((sum, [channel]) => sum + Number(channel), 0);
