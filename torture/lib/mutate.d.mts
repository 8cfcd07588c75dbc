import type { Target } from './fuzz-targets.mjs';
export function caseOf(target: Target, seed: number, index: number): Buffer;
