/** The commands, their options and their help; every command is a thin file below `commands/`. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { buildCommand } from './commands/build.js';
import { compareCommand } from './commands/compare.js';
import { dataCommand } from './commands/data.js';
import { doctorCommand } from './commands/doctor.js';
import { evaluateCommand } from './commands/evaluate.js';
import { explainCommand } from './commands/explain.js';
import { exportCommand } from './commands/export.js';
import { inspectCommand } from './commands/inspect.js';
import { labelsCommand } from './commands/labels.js';
import { planCommand } from './commands/plan.js';
import { predictCommand } from './commands/predict.js';
import { quickstartCommand } from './commands/quickstart.js';
import { serveCommand } from './commands/serve.js';
import { trainCommand } from './commands/train.js';
import { tuneCommand } from './commands/tune.js';
import { uiCommand } from './commands/ui.js';
import { reportError } from './terminal.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export function makeProgram(): Command {
  const program = new Command('espalier')
    .description('Train sparse and very-large-output neural networks on the machine you have.')
    .version(version)
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for the options)')
    .exitOverride();
  for (const command of [
    quickstartCommand(),
    dataCommand(),
    planCommand(),
    tuneCommand(),
    trainCommand(),
    evaluateCommand(),
    predictCommand(),
    explainCommand(),
    inspectCommand(),
    compareCommand(),
    labelsCommand(),
    exportCommand(),
    serveCommand(),
    uiCommand(),
    doctorCommand(),
    buildCommand(),
  ]) {
    program.addCommand(command.exitOverride());
  }
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
    await makeProgram().parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportError(error);
  }
}
