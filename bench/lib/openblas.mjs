// OpenBLAS as a rival, under the setting that makes it fastest on this machine.
import { startRival } from './rival.mjs';

// Left alone, some OpenBLAS builds take this processor for one of 2004: a win against that is no win.
const CORE_TYPES = ['SkylakeX', 'Cooperlake', 'Zen', 'Haswell'];

/** @param {Record<string, unknown>} setup @param {string} type */
function start(setup, type) {
  const env = { OPENBLAS_CORETYPE: type, OPENBLAS_NUM_THREADS: String(setup.threads) };
  return startRival('openblas_gemm.py', setup, env);
}

/** Starts OpenBLAS products ({ m, n, k, transA?, transB, threads }) at its best; null without OpenBLAS. */
export async function fastestBlas() {
  const found = [];
  for (const type of CORE_TYPES) {
    const rival = await start({ m: 256, n: 1024, k: 1024, transB: false, threads: 1 }, type);
    if (rival === null) return null;
    const seconds = [];
    for (let i = 0; i < 7; i++) seconds.push((await rival.sample()).seconds);
    rival.stop();
    found.push({ type, name: rival.name, seconds: Math.min(...seconds) });
  }
  found.sort((x, y) => x.seconds - y.seconds);
  const list = found.map(({ name, seconds }) => `${name} ${(0.5369 / seconds).toFixed(0)}`).join(', ');
  console.log(`rivals, GFLOP/s at 256x1024x1024: ${list}; taking the fastest`);
  return (/** @type {Record<string, unknown>} */ setup) => start(setup, found[0].type);
}
