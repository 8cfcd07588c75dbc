/** Options of the output layer whose labels share their inputs in groups. */
import { ensure } from '../../errors.js';
import type { RandomStream } from '../../kernels/random.js';
import type { OutputBaseOptions } from '../../output/base-options.js';
import { checkTopology, type Topology } from '../dynamic-sparse/options.js';

/**
 * As for labels with inputs of their own, with a group in place of a label: `prune.scope: 'label'` means every group on
 * its own, and growth by gradients follows the sum over its labels of |dense gradient|.
 */
export type GroupedTopology = Topology;

/**
 * Which labels share a group: groups are cut from the labels in this order. `identity`: as they are numbered;
 * `random`: drawn from the layer's stream; or the slot of every label, a permutation of 0 to L - 1.
 */
export type GroupOrder = 'identity' | 'random' | Uint32Array;

export interface GroupedOutputOptions extends Omit<OutputBaseOptions, 'chunk'> {
  /** F, connections per label, shared within a group. */
  readonly fanIn: number;
  /** G, labels per group; the last may have fewer. */
  readonly group: number;
  /** Default `identity`. */
  readonly order?: GroupOrder;
  readonly topology: GroupedTopology;
  /** Groups worked on at once by one thread. */
  readonly chunk?: number;
  /** Draws start connections, weights and the random order. */
  readonly stream: RandomStream;
  /** Draws regrown connections. */
  readonly rewireStream: RandomStream;
  /**
   * How many groups there are, where labels that came and went left some of them smaller than `group`
   * (`GroupedFanInOutput.groups` of the layer whose state will be loaded); by default ceil(L / G).
   */
  readonly groups?: number;
}

export function checkGroupedOptions(options: GroupedOutputOptions): void {
  const { fanIn, inputs, group, labels, groups = Math.ceil(labels / group) } = options;
  const check = (holds: boolean, code: string, what: string, expected: string, received: number) =>
    ensure(holds, () => ({
      code,
      kind: 'usage',
      op: 'GroupedFanInOutput',
      problem: `${what} is out of range`,
      expected,
      received: `${received}`,
    }));
  const whole = (n: number, low: number, high: number) => Number.isInteger(n) && n >= low && n <= high;
  const fanInRange = `1 to ${inputs}, the width of the hidden vectors`;
  check(whole(fanIn, 1, inputs), 'FAN_IN_RANGE', 'the fan-in', fanInRange, fanIn);
  check(whole(group, 1, 2 ** 20), 'GROUP_RANGE', 'the size of a group', '1 to 2^20 labels', group);
  const least = Math.ceil(labels / group);
  check(
    whole(groups, least, labels),
    'GROUPS_RANGE',
    'the number of groups',
    `${least} to ${labels}`,
    groups,
  );
  checkTopology(options.topology);
}
