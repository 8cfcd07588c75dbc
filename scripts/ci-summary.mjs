/** Prints `N passed, N failed` from the test report and the exit codes of the tests and the checks. */
import { readFileSync } from 'node:fs';

const [report, testsExit, checkExit] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
try {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  skipped = result.numPendingTests + (result.numTodoTests ?? 0);
} catch (error) {
  console.log(`no test report: ${error.message}`);
}
// A suite that could not start, or a failed check, is a failure although no test says so.
if (testsExit !== '0' && failed === 0) failed++;
if (checkExit === '0') passed++;
else failed++;
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
