// Weights stored as bfloat16, the upper half of a float32. An update rounds them stochastically: up with the probability
// of what is cut off, so that steps far below the distance of two neighbours still count in the mean.
#pragma once

#include "../bf16.h"
#include "../random/philox.h"
#include "step.h"

namespace ES_NS {
namespace {

struct Bf16 {
  uint16_t *w;  // null: weights are float32
  uint32_t key0, key1;
  uint64_t counter;
};

#define ES_BF16_ARGS \
  {short_weights, static_cast<uint32_t>(key0), static_cast<uint32_t>(key1), static_cast<uint64_t>(counter)}

// Weights [at, at + n): weight i takes half i & 1 of word (i >> 1) & 3 of block counter + (i >> 3), whoever rounds it.
inline void store_rounded(const Bf16 &to, int64_t at, int64_t n, const float *w) {
  constexpr int64_t DRAWS = 2 * WORDS;
  uint32_t words[WORDS];
  uint16_t draws[DRAWS];
  const Bits *bits = reinterpret_cast<const Bits *>(w);
  const int64_t end = at + n;
  for (int64_t base = at / 8 * 8; base < end; base += DRAWS) {
    philox(to.key0, to.key1, to.counter + static_cast<uint64_t>(base / 8), words);
    __builtin_memcpy(draws, words, sizeof draws);
    const int64_t from = base < at ? at : base, upto = base + DRAWS < end ? base + DRAWS : end;
    const uint16_t *draw = draws + (from - base);
    uint16_t *out = to.w + from;
    for (int64_t i = 0; i < upto - from; i++) out[i] = upper_half(bits[from - at + i], draw[i]);
  }
}

}  // namespace
}  // namespace ES_NS
