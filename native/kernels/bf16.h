// Numbers as bfloat16, the upper half of a float32, and back; any instruction set.
#pragma once

#include "isa.h"

namespace ES_NS {
namespace {

typedef uint32_t __attribute__((may_alias)) Bits;

inline void widen(int64_t n, const uint16_t *from, float *to) {
  // Told apart, the loop becomes vectors.
  const uint16_t *__restrict in = from;
  Bits *__restrict out = reinterpret_cast<Bits *>(to);
  for (int64_t i = 0; i < n; i++) out[i] = static_cast<uint32_t>(in[i]) << 16;
}

// What is not finite loses its lower half alone; NaN stays NaN.
inline uint16_t upper_half(uint32_t x, uint32_t added) {
  const uint32_t nan = (x & 0x007FFFFFu) != 0 ? 0x00400000u : 0u;
  return static_cast<uint16_t>(((x & 0x7F800000u) == 0x7F800000u ? x | nan : x + added) >> 16);
}

// To the nearest, ties to even.
inline void round_nearest(int64_t n, const float *from, uint16_t *to) {
  const Bits *__restrict in = reinterpret_cast<const Bits *>(from);
  uint16_t *__restrict out = to;
  for (int64_t i = 0; i < n; i++) out[i] = upper_half(in[i], 0x7FFFu + (in[i] >> 16 & 1u));
}

}  // namespace
}  // namespace ES_NS
