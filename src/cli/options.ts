/** What values of options must look like, and options that several commands have. */
import { type Command, InvalidArgumentError } from 'commander';

/** A whole number within bounds, in digits. */
export function whole(from: number, to = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const above = from === 0 ? 'a whole number' : `a whole number above ${from - 1}`;
  const wanted = to === Number.MAX_SAFE_INTEGER ? above : `a whole number from ${from} to ${to}`;
  return (text) => {
    const n = Number(text);
    if (/^\d+$/.test(text) && n >= from && n <= to) return n;
    throw new InvalidArgumentError(wanted);
  };
}

/** A number for which `holds`; `wanted` says which these are. */
export function number(wanted = 'a number', holds: (n: number) => boolean = () => true) {
  return (text: string): number => {
    const n = Number(text);
    if (text.trim() !== '' && Number.isFinite(n) && holds(n)) return n;
    throw new InvalidArgumentError(wanted);
  };
}

export interface AddressOptions {
  readonly host: string;
  readonly port: number;
  readonly allowHost: string[];
}

/** Where a server listens, and under which names it may be called. */
export function withAddress(command: Command, defaultPort: number): Command {
  return command
    .option('--port <n>', 'port; 0 takes a free one', whole(0, 65_535), defaultPort)
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all of this machine', '127.0.0.1')
    .option(
      '--allow-host <name>',
      'a name that a proxy in front passes on (repeatable)',
      (name: string, all: string[]) => [...all, name],
      [],
    );
}
