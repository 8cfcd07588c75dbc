// A rival in a process of its own that answers one line of JSON per request: a sample when asked for one.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * Starts a script beside this file, Python or JavaScript; null with the reason printed when it cannot run here.
 * @param {string} script
 * @param {Record<string, unknown>} setup sent as the first line
 * @param {NodeJS.ProcessEnv} env
 */
export async function startRival(script, setup, env = {}) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const program = script.endsWith('.py') ? '/usr/bin/python3' : process.execPath;
  const child = spawn(program, [path], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let failure = '';
  child.on('error', (error) => {
    failure = error.message;
  });
  const ask = async (/** @type {unknown} */ request) => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await lines.next();
    return done ? { missing: failure || 'it ended without an answer' } : JSON.parse(value);
  };
  child.stdin.on('error', () => {});
  const hello = await ask(setup);
  if (hello.missing !== undefined) {
    console.log(`skipped: ${script}: ${hello.missing}`);
    child.kill();
    return null;
  }
  return {
    name: hello.name,
    sample: () => ask({ sample: true }),
    stop: () => child.stdin.end(),
  };
}
