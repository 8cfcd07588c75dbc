// One lane: the level that runs everywhere.
#pragma once

#include <stdint.h>

namespace ES_NS {
namespace {

constexpr int W = 1;

struct F {
  float v;
};
struct M {
  bool v;
};

inline F zero() { return {0.0f}; }
inline F set(float x) { return {x}; }
inline F load(const float *p) { return {*p}; }
inline void store(float *p, F a) { *p = a.v; }
inline F load_n(const float *p, int n) { return {n > 0 ? *p : 0.0f}; }
inline void store_n(float *p, F a, int n) {
  if (n > 0) *p = a.v;
}

inline F keep_n(F a, int n) { return {n > 0 ? a.v : 0.0f}; }

inline F operator+(F a, F b) { return {a.v + b.v}; }
inline F operator-(F a, F b) { return {a.v - b.v}; }
inline F operator*(F a, F b) { return {a.v * b.v}; }
inline F operator/(F a, F b) { return {a.v / b.v}; }
inline F fma(F a, F b, F c) { return {a.v * b.v + c.v}; }
inline F fnma(F a, F b, F c) { return {c.v - a.v * b.v}; }
inline F max_of(F a, F b) { return {a.v > b.v ? a.v : b.v}; }
inline F min_of(F a, F b) { return {a.v < b.v ? a.v : b.v}; }
inline F sqrt_of(F a) { return {__builtin_sqrtf(a.v)}; }
inline F abs_of(F a) { return {__builtin_fabsf(a.v)}; }
inline M less(F a, F b) { return {a.v < b.v}; }
inline F select(M m, F yes, F no) { return m.v ? yes : no; }

inline float reduce_add(F a) { return a.v; }
inline float reduce_max(F a) { return a.v; }

// Nearest whole number, ties to even; |a| < 2^22.
inline F round_of(F a) { return {(a.v + 12582912.0f) - 12582912.0f}; }

inline float power_of_two(int n) {
  union {
    uint32_t bits;
    float value;
  } power = {static_cast<uint32_t>(n + 127) << 23};
  return power.value;
}
// a * 2^n for whole n in [-252, 254], in two steps, so that overflow and gradual underflow come out right.
inline F scale_by_power(F a, F n) {
  int whole = n.v >= -252.0f && n.v <= 254.0f ? static_cast<int>(n.v) : 0;  // NaN: 0
  int half = whole >> 1;
  return {a.v * power_of_two(half) * power_of_two(whole - half)};
}

struct D2 {
  double v;
};
inline D2 zero_d2() { return {0.0}; }
inline D2 add_wide(D2 sum, F a) { return {sum.v + static_cast<double>(a.v)}; }
inline D2 add_wide_square(D2 sum, F a) {
  return {sum.v + static_cast<double>(a.v) * static_cast<double>(a.v)};
}
inline D2 operator+(D2 a, D2 b) { return {a.v + b.v}; }
inline double reduce_add(D2 a) { return a.v; }

}  // namespace
}  // namespace ES_NS
