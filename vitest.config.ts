import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files of a minute and more, the longest first: one that begins last would run alone. Their sizes do not say so. */
const longest = [
  'src/kernels/conformance/conformance.test.ts',
  'src/methods/factored/exact.test.ts',
  'test/package.test.ts',
  'src/methods/dynamic-sparse/fan-in-output.test.ts',
  'test/cli.test.ts',
  'src/methods/grouped/grouped-output.test.ts',
  'test/journey.test.ts',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex((file) => moduleId.endsWith(file));
      return at < 0 ? longest.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
  },
});
