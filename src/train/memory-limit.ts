/** Refuses a run that would not fit into memory, with the numbers of its plan, before anything of it is made. */
import { freemem } from 'node:os';
import { EspalierError } from '../errors.js';
import { type BytesByTag, memoryTags } from '../tensor/memory.js';

interface Planned {
  readonly bytes: BytesByTag;
  readonly totalBytes: number;
}

/** Bytes that this process may still take: what the machine has, or what its control group leaves. */
export function availableMemory(): number {
  // Node 20.13 and later know of control groups.
  return process.availableMemory?.() ?? freemem();
}

const MiB = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`;

/**
 * Systems hand out more memory than they have and end the process when it is used; only the plan knows beforehand.
 *
 * @param held bytes of the plan that are there already
 * @param room bytes that may still be taken
 * @throws EspalierError `OUT_OF_MEMORY` of kind system
 */
export function ensureFits(plan: Planned, held: number, room: number = availableMemory()): void {
  const wanted = plan.totalBytes - held;
  if (wanted <= room) return;
  const parts = memoryTags
    .filter((tag) => plan.bytes[tag] > 0)
    .sort((a, b) => plan.bytes[b] - plan.bytes[a])
    .map((tag) => `${tag} ${MiB(plan.bytes[tag])}`);
  throw new EspalierError({
    code: 'OUT_OF_MEMORY',
    kind: 'system',
    op: 'train',
    problem: `the run would take ${MiB(wanted)} more memory than the process has now, and that is not there`,
    expected: `at most ${MiB(room)}`,
    received: `a plan of ${MiB(plan.totalBytes)}: ${parts.join(', ')}`,
    hint: 'see `espalier plan --max-memory SIZE` for what fits; lower the widths, the fan-in or the batch; or say with --max-memory that there is more',
  });
}
