import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { addonPath } from './native-build.js';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

describe('backendReport', () => {
  it('without addon and compiler: names the reference backend, the file it missed and both steps of the remedy', async () => {
    vi.stubEnv('ESPALIER_ADDON', '/nowhere/espalier.node');
    vi.stubEnv('CXX', '/nowhere/c++');
    vi.resetModules();
    const { backendReport } = await import('./report.js');
    const report = await backendReport();
    expect(report).toMatchObject({ backend: 'reference/float32', isas: [], compiler: null });
    expect(report.addon).toMatchObject([{ path: '/nowhere/espalier.node', exists: false, refusal: null }]);
    expect(report.remedy).toMatch(/compiler.*espalier build/);
  });

  it('reports a wrong wish instead of throwing it', async () => {
    const { backendReport } = await import('./report.js');
    vi.stubEnv('ESPALIER_BACKEND', 'gpu');
    const report = await backendReport();
    expect(report.backend).toBeNull();
    expect(report.reason).toContain('unknown backend');
  });

  it.skipIf(!existsSync(addonPath()))(
    'with an addon there is nothing to remedy (skipped without one)',
    async () => {
      const { backendReport } = await import('./report.js');
      const report = await backendReport({ threads: 2 });
      expect(report.backend).toBe(`native/${report.isas.at(-1)}`);
      expect(report).toMatchObject({ threads: 2, remedy: null });
    },
  );
});
