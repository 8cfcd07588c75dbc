/** The dashboard in a real browser: Chromium, where one is installed; and the size of what it loads. */
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evilName, fakeLog, makeRun } from '../reports/run.testing.js';
import { type Browser, chromium, looksOf, picture, startBrowser, windows } from '../serve/browser.testing.js';
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

const patient = { timeout: 30_000 };

describe.skipIf(chromium === undefined)(
  'the dashboard, in Chromium (skipped where none is installed)',
  () => {
    let home: string;
    let ui: RunningUi;
    let browser: Browser;

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
      browser = await startBrowser();
      ui = await startUi({ runs: [home], port: 0, page: built, pollMs: 100 });
    });
    afterAll(async () => {
      await browser?.close();
      await ui?.close();
      await rm(home, { recursive: true, force: true });
    });

    it.each(windows)('shows runs side by side and one in depth: %o', async ({ width, colorScheme }) => {
      const { page, faults, close } = await browser.open(ui.url, width, colorScheme);
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
      const { overflow, scheme } = await looksOf(page);
      expect(overflow).toBeLessThanOrEqual(0);
      expect(scheme).toBe(colorScheme);
      await picture(page, `ui-${width}-${colorScheme}`);
      expect(faults).toEqual([]);
      await close();
    });

    it('draws what a training run writes, while it writes', async () => {
      await makeTraining();
      const { page, faults, close } = await browser.open(ui.url);
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
      const { page, close } = await browser.open(empty.url, 400, 'dark');
      await page.waitForSelector('.empty.first');
      expect(await page.locator('.empty.first').textContent()).toContain('espalier train');
      await picture(page, 'ui-empty', false);
      await close();
      await empty.close();
      await rm(nothing, { recursive: true });
    });
  },
);
