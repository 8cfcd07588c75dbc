// Eight lanes: AVX2 and FMA.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace ES_NS {
namespace {

constexpr int W = 8;

struct F {
  __m256 v;
};
struct M {
  __m256 v;
};

inline __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline F zero() { return {_mm256_setzero_ps()}; }
inline F set(float x) { return {_mm256_set1_ps(x)}; }
inline F load(const float *p) { return {_mm256_loadu_ps(p)}; }
inline void store(float *p, F a) { _mm256_storeu_ps(p, a.v); }
inline F load_n(const float *p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
inline void store_n(float *p, F a, int n) { _mm256_maskstore_ps(p, first(n), a.v); }

inline F keep_n(F a, int n) { return {_mm256_and_ps(a.v, _mm256_castsi256_ps(first(n)))}; }

inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline F max_of(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F min_of(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F sqrt_of(F a) { return {_mm256_sqrt_ps(a.v)}; }
inline F abs_of(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline M less(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline F select(M m, F yes, F no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }

inline float reduce_add(F a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float reduce_max(F a) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// Nearest whole number, ties to even.
inline F round_of(F a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// a * 2^n for whole n in [-252, 254], in two steps, so that overflow and gradual underflow come out right.
inline F scale_by_power(F a, F n) {
  __m256i whole = _mm256_cvtps_epi32(n.v), bias = _mm256_set1_epi32(127);
  __m256i half = _mm256_srai_epi32(whole, 1);
  __m256i one = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  __m256i two = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, _mm256_castsi256_ps(one)), _mm256_castsi256_ps(two))};
}

struct D2 {
  __m256d low, high;
};
inline D2 zero_d2() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
inline __m256d low_doubles(F a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)); }
inline __m256d high_doubles(F a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)); }
inline D2 add_wide(D2 sum, F a) {
  return {_mm256_add_pd(sum.low, low_doubles(a)), _mm256_add_pd(sum.high, high_doubles(a))};
}
inline D2 add_wide_square(D2 sum, F a) {
  __m256d low = low_doubles(a), high = high_doubles(a);
  return {_mm256_fmadd_pd(low, low, sum.low), _mm256_fmadd_pd(high, high, sum.high)};
}
inline D2 operator+(D2 a, D2 b) { return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
inline double reduce_add(D2 a) {
  __m256d both = _mm256_add_pd(a.low, a.high);
  __m128d half = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
  return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

}  // namespace
}  // namespace ES_NS
