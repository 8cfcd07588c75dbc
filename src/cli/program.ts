/** The commands, their options and their help; every command is a thin file below `commands/`. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { reportError } from './terminal.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Each is loaded when it is called for: a server starts sooner without the trainer. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  quickstart: async () => (await import('./commands/quickstart.js')).quickstartCommand(),
  data: async () => (await import('./commands/data.js')).dataCommand(),
  plan: async () => (await import('./commands/plan.js')).planCommand(),
  tune: async () => (await import('./commands/tune.js')).tuneCommand(),
  train: async () => (await import('./commands/train.js')).trainCommand(),
  evaluate: async () => (await import('./commands/evaluate.js')).evaluateCommand(),
  predict: async () => (await import('./commands/predict.js')).predictCommand(),
  explain: async () => (await import('./commands/explain.js')).explainCommand(),
  inspect: async () => (await import('./commands/inspect.js')).inspectCommand(),
  compare: async () => (await import('./commands/compare.js')).compareCommand(),
  remember: async () => (await import('./commands/remember.js')).rememberCommand(),
  labels: async () => (await import('./commands/labels.js')).labelsCommand(),
  export: async () => (await import('./commands/export.js')).exportCommand(),
  serve: async () => (await import('./commands/serve.js')).serveCommand(),
  ui: async () => (await import('./commands/ui.js')).uiCommand(),
  doctor: async () => (await import('./commands/doctor.js')).doctorCommand(),
  build: async () => (await import('./commands/build.js')).buildCommand(),
};

async function makeProgram(names: readonly string[]): Promise<Command> {
  const program = new Command('espalier')
    .description('Train sparse and very-large-output neural networks on the machine you have.')
    .version(version)
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for the options)')
    .exitOverride();
  for (const name of names) program.addCommand((await commands[name]()).exitOverride());
  return program;
}

/** Runs one command line; returns the exit code. */
export async function runProgram(args: readonly string[]): Promise<number> {
  // A reader that closes early (`espalier predict ... | head`) is no fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    const called = Object.keys(commands).filter((name) => name === args[0]);
    // Help, and words that are no command, speak of all of them.
    const program = await makeProgram(called.length > 0 ? called : Object.keys(commands));
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportError(error);
  }
}
