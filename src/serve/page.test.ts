/** The page in a real browser: Chromium, where one is installed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyRows } from '../model/tiny-model.testing.js';
import { type Browser, chromium, looksOf, picture, startBrowser, windows } from './browser.testing.js';
import { type Served, startServer, stopServers } from './serving.testing.js';

describe.skipIf(chromium === undefined)('the page, in Chromium (skipped where none is installed)', () => {
  let served: Served;
  let browser: Browser;

  beforeAll(async () => {
    browser = await startBrowser();
    served = await startServer();
  });
  afterAll(async () => {
    await browser?.close();
    await stopServers();
  });

  it.each(windows)('asks, explains and highlights by keyboard alone: %o', async ({ width, colorScheme }) => {
    const { page, faults, close } = await browser.open(served.url, width, colorScheme);
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
    const { overflow, scheme } = await looksOf(page);
    expect(overflow).toBeLessThanOrEqual(0);
    expect(scheme).toBe(colorScheme);
    await picture(page, `page-${width}-${colorScheme}`);
    expect(faults).toEqual([]);
    await close();
  });

  it('favours rare labels as far as the slider says, where the model can', async () => {
    const { page, close } = await browser.open(served.url);
    await page.fill('textarea', 'apple tree');
    const names = async (ask: () => Promise<void>) => {
      const asked = page.waitForResponse('**/predict');
      await ask();
      const { results } = await (await asked).json();
      await page.waitForFunction(
        `document.querySelector('#labels .name')?.textContent === ${JSON.stringify(results[0].predictions[0].name)}`,
      );
      return page.locator('#labels .name').allTextContents();
    };
    const own = await names(() => page.click('#go'));
    await page.focus('#rare');
    // The slider asks again by itself.
    expect(await names(() => page.keyboard.press('End'))).not.toEqual(own);
    expect(await names(() => page.keyboard.press('Home'))).toEqual(own);
    await close();
    const older = await startServer({}, { frequencies: null });
    const other = await browser.open(older.url);
    await other.page.waitForSelector('textarea');
    expect(await other.page.locator('#rare').isHidden()).toBe(true);
    expect(await other.page.getByText('Favour rare labels').isHidden()).toBe(true);
    await other.close();
  });

  it('shows the remembered rows that voted for a label, where there are any', async () => {
    const remembering = await startServer({}, { remembered: tinyRows(37) });
    const { page, faults, close } = await browser.open(remembering.url);
    await page.fill('textarea', 'apple tree');
    await page.click('#go');
    await page.click('#labels button');
    await page.waitForSelector('#votes:not([hidden]) tbody tr');
    expect(await page.locator('#votes tbody td').first().textContent()).toMatch(
      /text:\w+ title:\w+|title:\w+ text:\w+/,
    );
    expect(await page.locator('#sum').textContent()).toContain('of remembered rows');
    expect(await page.locator('#sum').textContent()).toContain('of those with most features in common');
    expect(await page.locator('#feature-votes tbody tr').count()).toBeGreaterThan(0);
    await picture(page, 'page-votes');
    const sums: (string | null)[] = [];
    for (const label of await page.locator('#labels button').all()) {
      await label.click();
      sums.push(await page.locator('#sum').textContent());
    }
    const byWords = sums.filter((sum) => sum?.includes('for a label that is called by words of the input'));
    expect(byWords.length).toBeGreaterThan(0);
    expect(byWords.length).toBeLessThan(sums.length);
    expect(faults).toEqual([]);
    await close();
    const other = await browser.open(served.url);
    await other.page.fill('textarea', 'apple tree');
    await other.page.click('#go');
    await other.page.click('#labels button');
    await other.page.waitForSelector('#neighbours li');
    for (const votes of ['#votes', '#feature-votes'])
      expect(await other.page.locator(votes).isHidden()).toBe(true);
    expect(await other.page.locator('#sum').textContent()).not.toContain('remembered');
    await other.close();
  });

  it('shows a refusal with its hint, and goes on', async () => {
    const { page, close } = await browser.open(served.url);
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
    await close();
  });
});
