import { Command, Option } from 'commander';
import type { ServeOptions } from '../../serve/index.js';
import { type AddressOptions, whole, withAddress } from '../options.js';
import { note, out } from '../terminal.js';

interface ServeCliOptions extends AddressOptions {
  readonly workers?: number;
  readonly threads?: number;
  readonly maxBody?: number;
  readonly maxRows?: number;
  readonly maxK?: number;
  readonly maxQueue?: number;
  readonly maxPerClient?: number;
  readonly maxConnections?: number;
  readonly batch?: number;
  readonly timeout?: number;
  readonly drain?: number;
  readonly poll: number;
  readonly verify?: boolean;
  readonly logLevel: NonNullable<ServeOptions['logLevel']>;
}

export function serveCommand(): Command {
  const most = 2 ** 31 - 1;
  return withAddress(new Command('serve'), 8080)
    .description('answer predictions over HTTP: POST /predict, and a page to try it')
    .argument('<model>', 'run directory, its pointer, or a model directory')
    .option('--workers <n>', 'threads that answer', whole(1, most))
    .option('--threads <n>', 'threads of the kernels per worker', whole(1, most))
    .option('--batch <rows>', 'rows answered at once', whole(1, most))
    .option('--max-body <bytes>', 'largest request body', whole(1, most))
    .option('--max-rows <n>', 'inputs per request', whole(1, most))
    .option('--max-k <n>', 'labels per input', whole(1, most))
    .option('--max-queue <rows>', 'rows that may wait; beyond, requests are refused with 503', whole(1, most))
    .option('--max-per-client <n>', 'requests of one address at once; beyond, 429', whole(1, most))
    .option('--max-connections <n>', 'open connections', whole(1, most))
    .option('--timeout <ms>', 'from acceptance to answer; later, 503', whole(1, most))
    .option('--drain <ms>', 'for requests to finish after SIGTERM', whole(1, most))
    .option('--poll <ms>', 'how often to look whether the model was replaced', whole(1, most), 1_000)
    .option('--no-verify', 'start without comparing checksums (replaced models are always checked)')
    .addOption(
      new Option('--log-level <level>', 'of the log, JSON lines on standard output')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .addHelpText(
      'after',
      '\nExample:\n  espalier serve runs/wn --port 8080\n  curl localhost:8080/predict --json \'{"text": "small domesticated carnivore", "k": 3}\'\n\nSIGTERM and SIGINT drain and end; a second one ends at once. SIGHUP looks for a replaced model now.',
    )
    .action(run);
}

async function run(model: string, options: ServeCliOptions): Promise<void> {
  const { host, workers, threads, verify, logLevel } = options;
  const limits = Object.entries({
    bodyBytes: options.maxBody,
    rows: options.maxRows,
    k: options.maxK,
    queueRows: options.maxQueue,
    perClient: options.maxPerClient,
    connections: options.maxConnections,
    batchRows: options.batch,
    timeoutMs: options.timeout,
    drainMs: options.drain,
  }).filter(([, value]) => value !== undefined);
  // Loaded here: no other command waits for it.
  const { serve } = await import('../../serve/index.js');
  const server = await serve({
    ...{ model, host, port: options.port, allowHosts: options.allowHost, workers, threads },
    ...{ limits: Object.fromEntries(limits), pollMs: options.poll, verify, logLevel },
  });
  note(`${server.url}  ${server.workers} worker(s) of ${server.threads} thread(s)`);
  if (logLevel === 'silent') out(server.url);
  process.on('SIGHUP', () => void server.reload());
  await new Promise<void>((resolve, reject) => {
    let ending = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (ending) process.exit(signal === 'SIGINT' ? 130 : 143);
      ending = true;
      note(`${signal}: answering what was accepted; once more to end at once`);
      server.close().then(resolve, reject);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
