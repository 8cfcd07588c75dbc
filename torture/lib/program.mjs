/** Programs as children: started, watched, killed, and what they said. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const espalier = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/**
 * Starts a Node program; `ended` resolves with what it said and how it ended, whatever happened.
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, uid?: number, gid?: number, limitMs?: number, nodeOptions?: string[], wrap?: string[] }} [how]
 *   `limitMs`: killed after so long, which counts as a hang; `wrap`: a command that runs it, as `prlimit`
 */
export function start(args, { env = {}, uid, gid, limitMs = 600_000, nodeOptions = [], wrap = [] } = {}) {
  const [command, ...rest] = [...wrap, process.execPath, ...nodeOptions, ...args];
  const child = spawn(command, rest, {
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid }),
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (part) => {
    out = (out + part).slice(-200_000);
  });
  child.stderr.on('data', (part) => {
    err = (err + part).slice(-200_000);
  });
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.kill('SIGKILL');
  }, limitMs);
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, out, err: error.message, hung }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err, hung });
    });
  });
  return {
    child,
    ended:
      /** @type {Promise<{ code: number | null, signal: string | null, out: string, err: string, hung: boolean }>} */ (
        ended
      ),
    /** What it has said on standard error so far. */
    said: () => err,
  };
}

export const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
