import { Command } from 'commander';
import { type AddressOptions, withAddress } from '../options.js';
import { note, out } from '../terminal.js';

interface UiCliOptions extends AddressOptions {
  readonly json?: boolean;
}

export function uiCommand(): Command {
  return withAddress(new Command('ui'), 8090)
    .description('a dashboard of training runs: side by side, live while they train, in the browser')
    .argument('<runs...>', 'run directories, or directories that hold runs')
    .option('--json', 'print what the dashboard shows of every run as a line of JSON, and end')
    .addHelpText('after', '\nExample:\n  espalier ui runs\n  espalier ui runs --json | head -1')
    .action(run);
}

async function run(roots: string[], { host, port, allowHost, json }: UiCliOptions): Promise<void> {
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
