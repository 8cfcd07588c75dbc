// What output kernels need of a register beyond simd/vec.h: many dot products at once, lane masks, gathers.
// A batch is padded to a multiple of W and cut into blocks of at most MAX_VECS registers per row of hT.
#pragma once

#include <stddef.h>

#include "../isa.h"

namespace ES_NS {
namespace {

// Registers per block of the batch; MAX_VECS * W rows share one decoding of a column.
constexpr int MAX_VECS = W == 1 ? 8 : 4;
// Dot products that one call of lane_sums finishes: as many as the register file holds beside the operands.
constexpr int GROUP = W == 16 ? 16 : 4;

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

#if defined(__AVX512F__)

inline __m512 swap_halves_of_pairs(__m512 a) { return _mm512_shuffle_f32x4(a, a, 0x4E); }

// Lane j of the result = sum of the lanes of r[j]. Four masks in all: more would not fit the mask registers.
inline F lane_sums(const F *r) {
  __m512 a[8], b[4], c[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    __m512 x = r[2 * i].v, y = r[2 * i + 1].v;
    a[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xAAAA, x, y), _mm512_permute_ps(_mm512_mask_blend_ps(0xAAAA, y, x), 0xB1));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    __m512 x = a[2 * i], y = a[2 * i + 1];
    b[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xCCCC, x, y), _mm512_permute_ps(_mm512_mask_blend_ps(0xCCCC, y, x), 0x4E));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    __m512 x = b[2 * i], y = b[2 * i + 1], cross = _mm512_mask_blend_ps(0xF0F0, y, x);
    c[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xF0F0, x, y), _mm512_shuffle_f32x4(cross, cross, 0xB1));
  }
  __m512 cross = _mm512_mask_blend_ps(0xFF00, c[1], c[0]);
  return {_mm512_add_ps(_mm512_mask_blend_ps(0xFF00, c[0], c[1]), swap_halves_of_pairs(cross))};
}
inline void store_group(float *p, F sums) { _mm512_storeu_ps(p, sums.v); }
inline void add_group(float *p, F sums) { _mm512_storeu_ps(p, _mm512_add_ps(_mm512_loadu_ps(p), sums.v)); }

inline bool any_nonzero(F a) { return _mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_NEQ_UQ) != 0; }
// Bit i: not (a[i] <= b[i]); set when either is NaN.
inline uint32_t not_below(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLE_UQ); }
// Bit i: not (a[i] < b[i]).
inline uint32_t not_less(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ); }
// a > 0 normal: a = mantissa * 2^exponent, mantissa in [1, 2).
inline F exponent_of(F a) { return {_mm512_getexp_ps(a.v)}; }
inline F mantissa_of(F a) { return {_mm512_getmant_ps(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero)}; }

#elif defined(__AVX2__)

// Lane j of the result = sum of the lanes of r[j], j < 4; the other lanes repeat them.
inline F lane_sums(const F *r) {
  __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(r[0].v, r[1].v), _mm256_hadd_ps(r[2].v, r[3].v));
  return {_mm256_add_ps(a, _mm256_permute2f128_ps(a, a, 1))};
}
inline void store_group(float *p, F sums) { _mm_storeu_ps(p, _mm256_castps256_ps128(sums.v)); }
inline void add_group(float *p, F sums) {
  _mm_storeu_ps(p, _mm_add_ps(_mm_loadu_ps(p), _mm256_castps256_ps128(sums.v)));
}

inline bool any_nonzero(F a) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a.v, _mm256_setzero_ps(), _CMP_NEQ_UQ)) != 0;
}
inline uint32_t not_below(F a, F b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_NLE_UQ)));
}
inline uint32_t not_less(F a, F b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_NLT_UQ)));
}
inline F exponent_of(F a) {
  __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a.v), 23);
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))};
}
inline F mantissa_of(F a) {
  __m256i fraction = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007FFFFF));
  return {_mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3F800000)))};
}

#else

struct Sums {
  float v[GROUP];
};
inline Sums lane_sums(const F *r) { return {{r[0].v, r[1].v, r[2].v, r[3].v}}; }
inline void store_group(float *p, Sums sums) {
  for (int j = 0; j < GROUP; j++) p[j] = sums.v[j];
}
inline void add_group(float *p, Sums sums) {
  for (int j = 0; j < GROUP; j++) p[j] += sums.v[j];
}

inline bool any_nonzero(F a) { return a.v != 0.0f; }
inline uint32_t not_below(F a, F b) { return a.v <= b.v ? 0 : 1; }
inline uint32_t not_less(F a, F b) { return a.v < b.v ? 0 : 1; }
inline uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
inline F exponent_of(F a) { return {static_cast<float>(static_cast<int32_t>(bits_of(a.v) >> 23) - 127)}; }
inline F mantissa_of(F a) {
  uint32_t bits = (bits_of(a.v) & 0x007FFFFFu) | 0x3F800000u;
  float mantissa;
  __builtin_memcpy(&mantissa, &bits, 4);
  return {mantissa};
}

#endif

// log(1 + q), q >= 0, relative error some 1e-7 for small and large q alike; NaN stays NaN.
inline F log1p_of(F q) {
  F one = set(1.0f), u = one + q;
  F lost = (q - (u - one)) / u;  // what rounding 1 + q took away
  F m = mantissa_of(u), n = exponent_of(u);
  // m in [1, 2) to [0.7, 1.4), then log m = 2 atanh s, s = (m - 1) / (m + 1)
  M big = less(set(1.4142135f), m);
  m = select(big, m * set(0.5f), m);
  n = select(big, n + one, n);
  F s = (m - one) / (m + one), t = s * s;
  F p = fma(t, set(2.0f / 9), set(2.0f / 7));
  p = fma(p, t, set(2.0f / 5));
  p = fma(p, t, set(2.0f / 3));
  p = fma(p * t, s, s + s);
  F sum = fma(n, set(0.693145752f), fma(n, set(1.42860677e-6f), p + lost));
  return select(less(u, set(__builtin_inff())), sum, q);  // infinity and NaN as they are
}

}  // namespace
}  // namespace ES_NS
