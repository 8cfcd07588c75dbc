export interface Target {
  corpus: Uint8Array[];
  words: string[];
  read: (bytes: Uint8Array, place: string) => Promise<void>;
  json?: (bytes: Buffer) => { part: [number, number]; whole: (json: string) => Buffer };
  repair?: (bytes: Uint8Array) => Uint8Array;
}
export function fuzzTargets(modules: object, home: string): Promise<Record<string, Target>>;
export function clear(place: string): Promise<void>;
