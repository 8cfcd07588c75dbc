// Sixteen lanes: AVX-512 F, BW, DQ, VL.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace ES_NS {
namespace {

constexpr int W = 16;

struct F {
  __m512 v;
};
struct M {
  __mmask16 v;
};

inline __mmask16 first(int n) {
  return n >= 16 ? static_cast<__mmask16>(0xFFFF) : n <= 0 ? static_cast<__mmask16>(0) : static_cast<__mmask16>((1u << n) - 1u);
}

inline F zero() { return {_mm512_setzero_ps()}; }
inline F set(float x) { return {_mm512_set1_ps(x)}; }
inline F load(const float *p) { return {_mm512_loadu_ps(p)}; }
inline void store(float *p, F a) { _mm512_storeu_ps(p, a.v); }
inline F load_n(const float *p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline void store_n(float *p, F a, int n) { _mm512_mask_storeu_ps(p, first(n), a.v); }

inline F keep_n(F a, int n) { return {_mm512_maskz_mov_ps(first(n), a.v)}; }

inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline F max_of(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F min_of(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F sqrt_of(F a) { return {_mm512_sqrt_ps(a.v)}; }
inline F abs_of(F a) { return {_mm512_abs_ps(a.v)}; }
inline M less(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline F select(M m, F yes, F no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

inline float reduce_add(F a) {
  __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}
inline float reduce_max(F a) { return _mm512_reduce_max_ps(a.v); }

// Nearest whole number, ties to even.
inline F round_of(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// a * 2^n for whole n.
inline F scale_by_power(F a, F n) { return {_mm512_scalef_ps(a.v, n.v)}; }

struct D2 {
  __m512d low, high;
};
inline D2 zero_d2() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
inline __m512d low_doubles(F a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)); }
inline __m512d high_doubles(F a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)); }
inline D2 add_wide(D2 sum, F a) {
  return {_mm512_add_pd(sum.low, low_doubles(a)), _mm512_add_pd(sum.high, high_doubles(a))};
}
inline D2 add_wide_square(D2 sum, F a) {
  __m512d low = low_doubles(a), high = high_doubles(a);
  return {_mm512_fmadd_pd(low, low, sum.low), _mm512_fmadd_pd(high, high, sum.high)};
}
inline D2 operator+(D2 a, D2 b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
inline double reduce_add(D2 a) {
  __m512d both = _mm512_add_pd(a.low, a.high);
  __m256d half = _mm256_add_pd(_mm512_castpd512_pd256(both), _mm512_extractf64x4_pd(both, 1));
  __m128d quarter = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));
  return _mm_cvtsd_f64(_mm_add_sd(quarter, _mm_unpackhi_pd(quarter, quarter)));
}

}  // namespace
}  // namespace ES_NS
