import { Command } from 'commander';
import { note, out } from '../terminal.js';

interface UiCliOptions {
  readonly host: string;
  readonly port: number;
  readonly allowHost: string[];
  readonly json?: boolean;
}

export function uiCommand(): Command {
  return new Command('ui')
    .description('a dashboard of training runs: side by side, live while they train, in the browser')
    .argument('<runs...>', 'run directories, or directories that hold runs')
    .option('--port <n>', 'port; 0 takes a free one', Number, 8090)
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all of this machine', '127.0.0.1')
    .option(
      '--allow-host <name>',
      'a name that a proxy in front passes on (repeatable)',
      (name: string, all: string[]) => [...all, name],
      [],
    )
    .option('--json', 'print what the dashboard shows of every run as a line of JSON, and end')
    .addHelpText('after', '\nExample:\n  espalier ui runs\n  espalier ui runs --json | head -1')
    .action(run);
}

async function run(
  roots: string[],
  { host, port, allowHost, json }: UiCliOptions,
  command: Command,
): Promise<void> {
  if (!(Number.isInteger(port) && port >= 0 && port < 65_536)) {
    command.error('error: --port is a whole number from 0 to 65535', { exitCode: 2 });
  }
  if (json === true) {
    const { checkRoots, readRuns } = await import('../../reports/index.js');
    await checkRoots('espalier ui', roots);
    for (const report of await readRuns(roots)) out(JSON.stringify(report));
    return;
  }
  // Loaded here: no other command waits for it.
  const { startUi } = await import('../../ui/index.js');
  const ui = await startUi({ runs: roots, host, port, allowHosts: allowHost });
  out(ui.url);
  note('open this address in a browser; Ctrl-C ends');
  await new Promise<void>((resolve, reject) => {
    const onSignal = () => void ui.close().then(resolve, reject);
    process.once('SIGINT', onSignal);
    process.once('SIGTERM', onSignal);
  });
}
