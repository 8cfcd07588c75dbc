// The k largest of n sums of squares in linear time: a radix search, eight bits at a time, over their bit patterns,
// which ascend like the numbers, NaN (its sign put aside) above all.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

inline uint32_t magnitude_bits(float x) {
  union {
    float value;
    uint32_t bits;
  } both = {x};
  return both.bits & 0x7FFFFFFFu;
}

// Chosen are the keys whose upper bits pass `prefix`, and the first `ties` whose upper bits equal it.
struct Cut {
  int shift;
  uint32_t prefix;
  int64_t ties;

  bool takes(float key) {
    const uint32_t upper = magnitude_bits(key) >> shift;
    return upper > prefix || (upper == prefix && ties-- > 0);
  }
};

// 0 <= k <= n.
inline Cut cut_of(const float *keys, int64_t n, int64_t k) {
  if (k == 0) return {0, 0xFFFFFFFFu, 0};
  if (k == n) return {0, 0, n};
  uint32_t prefix = 0;
  int64_t wanted = k;
  for (int shift = 24;; shift -= 8) {
    uint32_t counts[256] = {};
    for (int64_t i = 0; i < n; i++) {
      const uint32_t bits = magnitude_bits(keys[i]);
      // In the first round all keys share the empty prefix.
      const bool within = shift == 24 || bits >> (shift + 8) == prefix;
      counts[(bits >> shift) & 255] += within ? 1 : 0;
    }
    int digit = 255;
    while (static_cast<int64_t>(counts[digit]) < wanted) wanted -= counts[digit--];
    prefix = prefix << 8 | static_cast<uint32_t>(digit);
    if (shift == 0 || static_cast<int64_t>(counts[digit]) == wanted) return {shift, prefix, wanted};
  }
}

}  // namespace
}  // namespace ES_NS
