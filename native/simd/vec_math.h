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

}  // namespace
}  // namespace ES_NS
