// Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), one block per 64-bit lane. A product of two 32-bit words fills
// its lane: the high half is a shift away and the low half needs no masking, since the next product and the last
// join read only the low 32 bits.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 8;
struct L {
  __m512i v;
};
inline L every(uint64_t x) { return {_mm512_set1_epi64(static_cast<long long>(x))}; }
// counter + the block of the lane, in the order that `put_blocks` wants.
inline L counters(uint64_t counter) {
  return {_mm512_add_epi64(every(counter).v, _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7))};
}
inline L product(L a, L b) { return {_mm512_mul_epu32(a.v, b.v)}; }
inline L high(L a) { return {_mm512_srli_epi64(a.v, 32)}; }
inline L xor_of(L a, L b, L c) { return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0x96)}; }
inline void put_blocks(uint32_t *out, L x0, L x1, L x2, L x3) {
  __m512i a = _mm512_mask_blend_epi32(0xAAAA, x0.v, _mm512_slli_epi64(x1.v, 32));
  __m512i b = _mm512_mask_blend_epi32(0xAAAA, x2.v, _mm512_slli_epi64(x3.v, 32));
  _mm512_storeu_si512(out, _mm512_unpacklo_epi64(a, b));
  _mm512_storeu_si512(out + 16, _mm512_unpackhi_epi64(a, b));
}
#elif defined(__AVX2__)
constexpr int LANES = 4;
struct L {
  __m256i v;
};
inline L every(uint64_t x) { return {_mm256_set1_epi64x(static_cast<long long>(x))}; }
inline L counters(uint64_t counter) {
  return {_mm256_add_epi64(every(counter).v, _mm256_setr_epi64x(0, 2, 1, 3))};
}
inline L product(L a, L b) { return {_mm256_mul_epu32(a.v, b.v)}; }
inline L high(L a) { return {_mm256_srli_epi64(a.v, 32)}; }
inline L xor_of(L a, L b, L c) { return {_mm256_xor_si256(_mm256_xor_si256(a.v, b.v), c.v)}; }
inline void put_blocks(uint32_t *out, L x0, L x1, L x2, L x3) {
  __m256i a = _mm256_blend_epi32(x0.v, _mm256_slli_epi64(x1.v, 32), 0xAA);
  __m256i b = _mm256_blend_epi32(x2.v, _mm256_slli_epi64(x3.v, 32), 0xAA);
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_unpacklo_epi64(a, b));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + 8), _mm256_unpackhi_epi64(a, b));
}
#else
constexpr int LANES = 1;
struct L {
  uint64_t v;
};
inline L every(uint64_t x) { return {x}; }
inline L counters(uint64_t counter) { return {counter}; }
inline L product(L a, L b) { return {(a.v & 0xFFFFFFFFu) * (b.v & 0xFFFFFFFFu)}; }
inline L high(L a) { return {a.v >> 32}; }
inline L xor_of(L a, L b, L c) { return {a.v ^ b.v ^ c.v}; }
inline void put_blocks(uint32_t *out, L x0, L x1, L x2, L x3) {
  out[0] = static_cast<uint32_t>(x0.v);
  out[1] = static_cast<uint32_t>(x1.v);
  out[2] = static_cast<uint32_t>(x2.v);
  out[3] = static_cast<uint32_t>(x3.v);
}
#endif

constexpr int CHAINS = 4;  // independent, to hide the latency of the products
constexpr int BLOCKS = CHAINS * LANES;
constexpr int WORDS = BLOCKS * 4;

// bits[4 b + j] = word j of the block with counter words (low, high, 0, 0) of counter + b, for b < BLOCKS.
inline void philox(uint32_t key0, uint32_t key1, uint64_t counter, uint32_t *bits) {
  L x0[CHAINS], x1[CHAINS], x2[CHAINS], x3[CHAINS];
  for (int c = 0; c < CHAINS; c++) {
    x0[c] = counters(counter + static_cast<uint64_t>(c * LANES));
    x1[c] = high(x0[c]);
    x2[c] = x3[c] = every(0);
  }
  L first = every(0xD2511F53u), second = every(0xCD9E8D57u);
  for (int round = 0; round < 10; round++) {
    L k0 = every(key0), k1 = every(key1);
    for (int c = 0; c < CHAINS; c++) {
      L p0 = product(first, x0[c]), p1 = product(second, x2[c]);
      x0[c] = xor_of(high(p1), x1[c], k0);
      x1[c] = p1;
      x2[c] = xor_of(high(p0), x3[c], k1);
      x3[c] = p0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int c = 0; c < CHAINS; c++) put_blocks(bits + c * LANES * 4, x0[c], x1[c], x2[c], x3[c]);
}

}  // namespace
}  // namespace ES_NS
