/** Work that runs side by side. */

/**
 * Waits for both, also when one has failed: what they share may only be closed then. Throws what failed, the first
 * before the second.
 */
export async function both<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second]);
  return [await first, await second];
}
