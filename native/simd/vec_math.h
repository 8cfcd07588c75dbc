// Functions over F, written once for all levels. Coefficients are our own minimax fits (weighted least squares,
// iterated), rounded to float.
#pragma once

namespace ES_NS {
namespace {

// e^x to 2 units in the last place; overflow to infinity, underflow to 0, NaN stays NaN.
inline F exp_of(F x) {
  // The value comes second: max_of and min_of then hand on a NaN.
  x = min_of(set(89.0f), max_of(set(-104.0f), x));
  F n = round_of(x * set(1.44269504f));
  F r = fnma(n, set(0.693359375f), x);  // ln 2 in two parts, the first exact times n
  r = fnma(n, set(-2.12194440e-4f), r);
  F p = set(0.001381446490995586f);
  p = fma(p, r, set(0.008368780836462975f));
  p = fma(p, r, set(0.04166839271783829f));
  p = fma(p, r, set(0.1666651964187622f));
  p = fma(p, r, set(0.4999999403953552f));
  p = fma(p * r, r, r) + set(1.0f);
  return scale_by_power(p, n);
}

// Beyond it the lower tail is 0 in float.
constexpr float NORMAL_END = 14.5f;

// The standard normal at x in [-NORMAL_END, NORMAL_END]: density phi(x) and distribution Phi(x), the lower tail to full relative
// accuracy. Phi(-u) = exp(-u^2/2) R(t), t = 1 / (1 + 0.27 u), R a polynomial without constant term.
struct Normal {
  F density, below;
};

inline F normal_clamp(F x) { return min_of(set(NORMAL_END), max_of(set(-NORMAL_END), x)); }

inline Normal normal_of(F x) {
  F e = exp_of(set(-0.5f) * x * x);
  F t = set(1.0f) / fma(set(0.27f), abs_of(x), set(1.0f));
  F r = set(0.028884077444672585f);
  r = fma(r, t, set(-0.1261022686958313f));
  r = fma(r, t, set(0.16897325217723846f));
  r = fma(r, t, set(-0.0682559534907341f));
  r = fma(r, t, set(0.10714783519506454f));
  r = fma(r, t, set(0.07234642654657364f));
  r = fma(r, t, set(0.10173255205154419f));
  r = fma(r, t, set(0.1075541153550148f));
  r = fma(r, t, set(0.10771998018026352f));
  F tail = e * (r * t);
  return {e * set(0.3989422804f), select(less(x, zero()), tail, set(1.0f) - tail)};
}

}  // namespace
}  // namespace ES_NS
