// The n elements of a short row with the largest keys, of equals the earlier, in the order of the row.
//
// A bound first: lanes of a few registers hold the maxima of as many groups of elements, and what n maxima reach, n
// elements reach at least, and few more. Those are gathered, and cut the same way, by halving an interval.
#pragma once

#include "../output/lanes.h"

namespace ES_NS {
namespace {

struct LargestMagnitudes {
  static inline F of(F x) { return abs_of(x); }
};
struct SmallestMagnitudes {
  static inline F of(F x) { return zero() - abs_of(x); }
};

constexpr int MOST_GROUPS = 256;

// How many of the values are at least `bound`; NaN is not.
inline int64_t count_from(const float *values, int64_t padded, float bound) {
  const F least = set(bound);
  int64_t below = 0;
  for (int64_t j = 0; j < padded; j += W) below += __builtin_popcount(not_below(least, load(values + j)));
  return padded - below;
}

// Halves [low, high]; at least n of the values reach `low`, fewer reach `high`. Ends early where exactly n reach it.
struct Halving {
  float low, high;
  bool exact;

  Halving(float from, float to) : low(from), high(to), exact(false) {}

  void run(const float *values, int64_t padded, int64_t n, int times) {
    for (int i = 0; i < times && !exact; i++) {
      const float middle = low + 0.5f * (high - low);
      if (!(middle > low && middle < high)) return;  // neighbours, or not finite
      const int64_t count = count_from(values, padded, middle);
      if (count < n) high = middle;
      else low = middle;
      exact = count == n;
    }
  }
};

// The n-th largest of `count` values by counting, n <= count. values: padded to a multiple of W with -infinity.
inline float nth_largest(const float *values, int64_t count, int64_t n) {
  const int64_t padded = round_up(count, W);
  float nth = __builtin_inff();
  for (int64_t i = 0; i < count; i++) {
    const F own = set(values[i]);
    int64_t above = 0;
    for (int64_t j = 0; j < padded; j += W) above += __builtin_popcount(not_below(load(values + j), own));
    const float candidate = above < n ? values[i] : __builtin_inff();
    nth = candidate < nth ? candidate : nth;
  }
  return nth;
}

// Into `chosen`, ascending: places of the n largest keys not below `floor`, or of as many as there are; returns their
// number. NaN is never chosen. keys, chosen: room for `count` and W more.
template <class Key>
inline int64_t select_largest(const float *row, int64_t count, int64_t n, float floor, float *keys, uint32_t *chosen) {
  const int64_t vecs = (count + W - 1) / W;
  const auto vec = [&](int64_t v) {
    const int64_t rest = count - v * W;
    return Key::of(rest < W ? load_n(row + v * W, static_cast<int>(rest)) : load(row + v * W));
  };
  const auto lanes = [&](int64_t v) { return count - v * W < W ? (1u << (count - v * W)) - 1u : (1u << W) - 1u; };

  float bound = floor;
  int64_t wide = (3 * n + W - 1) / W;
  if (wide > MOST_GROUPS / W) wide = MOST_GROUPS / W;
  // The last vector may hold lanes that do not exist: it takes no part in the bound.
  const int64_t whole = count / W;
  if (wide <= whole && wide * W >= n) {
    alignas(64) float groups[MOST_GROUPS];
    for (int64_t g = 0; g < wide; g++) store(groups + g * W, set(-__builtin_inff()));
    for (int64_t v = 0, g = 0; v < whole; v++, g = g + 1 == wide ? 0 : g + 1) {
      store(groups + g * W, max_of(vec(v), load(groups + g * W)));
    }
    F highest = load(groups), lowest = highest;
    for (int64_t g = 1; g < wide; g++) {
      highest = max_of(load(groups + g * W), highest);
      lowest = min_of(load(groups + g * W), lowest);
    }
    Halving halving(-reduce_max(zero() - lowest), reduce_max(highest));
    halving.run(groups, wide * W, n, 6);
    bound = halving.low > floor ? halving.low : floor;
  }

  int64_t held = 0;
  const F least = set(bound);
  for (int64_t v = 0; v < vecs; v++) {
    const F key = vec(v);
    uint32_t bits = ~not_below(least, key) & lanes(v);
    if (bits == 0) continue;
    alignas(64) float own[W];
    store(own, key);
    for (; bits != 0; bits &= bits - 1) {
      const int lane = __builtin_ctz(bits);
      keys[held] = own[lane];
      chosen[held++] = static_cast<uint32_t>(v * W + lane);
    }
  }
  if (held <= n) return held;

  for (int64_t i = held; i < round_up(held, W); i++) keys[i] = -__builtin_inff();
  float highest = keys[0];
  for (int64_t i = 1; i < held; i++) highest = keys[i] > highest ? keys[i] : highest;
  Halving halving(bound, highest);
  halving.run(keys, round_up(held, W), n, 24);
  // Ties need the count.
  const float nth = halving.exact ? halving.low : nth_largest(keys, held, n);
  int64_t equal = n;
  for (int64_t i = 0; i < held; i++) equal -= keys[i] > nth ? 1 : 0;
  int64_t kept = 0;
  for (int64_t i = 0; i < held; i++) {
    if (keys[i] > nth || (keys[i] == nth && equal-- > 0)) chosen[kept++] = chosen[i];
  }
  return kept;
}

}  // namespace
}  // namespace ES_NS
