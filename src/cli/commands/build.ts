import { Command } from 'commander';
import { buildNative } from '../../kernels/native-build.js';
import { note, out, ProgressLine } from '../terminal.js';

export function buildCommand(): Command {
  return new Command('build')
    .description('compile the native kernels (needs a C++17 compiler, nothing else)')
    .option('--if-possible', 'without a compiler: say so and go on')
    .action(async (options: { ifPossible?: boolean }) => {
      await build(options.ifPossible ?? false);
    });
}

/** Compiles; with `optional`, a missing or failing compiler is told and survived. */
export async function build(optional: boolean): Promise<boolean> {
  const line = new ProgressLine();
  try {
    const { addon, compiled, reused, seconds } = await buildNative({ log: (text) => line.show(text) });
    line.clear();
    out(`native kernels: ${addon} (${compiled} compiled, ${reused} reused, ${seconds.toFixed(1)} s)`);
    return true;
  } catch (error) {
    line.clear();
    if (!optional) throw error;
    note(`native kernels: not built. ${error instanceof Error ? error.message : String(error)}`);
    note('going on with the reference backend, which is about a hundred times slower');
    return false;
  }
}
