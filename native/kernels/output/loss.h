// Loss and gradient of one label in registers. Every label is a negative until `flip` says otherwise: with
// s = -1 at the positives and +1 elsewhere, both losses are functions of s z alone (no sigmoid(z) - y, which
// cancels):
//   bce:          loss = log(1 + e^(s z)),    G = s sigmoid(s z)
//   squaredHinge: loss = max(0, 1 + s z)^2,   G = 2 s max(0, 1 + s z)
// gradScale is applied later, to the sums.
// Softmax needs two walks over the labels. The first finds log Z_b = log sum_l e^z, the second uses it:
//   softmax:      loss = sum over positives of share_b (log Z_b - z),    G = e^(z - log Z_b) - share_b at the positives
#pragma once

#include "lanes.h"

namespace ES_NS {
namespace {

enum { LOSS_BCE = 0, LOSS_SQUARED_HINGE = 1, LOSS_SOFTMAX = 2, LOSS_LOG_SUM = 3 };

// e^-t for t >= 0; NaN stays NaN. Below e^-64 it stands still: zero to every sum it enters, and
// its products with weights stay clear of denormal numbers, which are slow.
inline F exp_minus(F t) {
  t = min_of(set(64.0f), t);
  F n = round_of(t * set(-1.44269504f));
  F r = fma(n, set(0.693359375f), t);  // t + n ln 2, so that e^-t = 2^n e^-r
  r = fma(n, set(-2.12194440e-4f), r);
  F p = set(0.001381446490995586f);  // the coefficients of exp_of, with the signs of e^-r
  p = fma(p, r, set(-0.008368780836462975f));
  p = fma(p, r, set(0.04166839271783829f));
  p = fma(p, r, set(-0.1666651964187622f));
  p = fma(p, r, set(0.4999999403953552f));
  p = fma(p * r, r, set(1.0f) - r);
  return scale_by_power(p, n);
}

// Sum of losses of a chunk. The logs of bce are taken of products: product_ + 1 = prod (1 + e^-|z|), kept
// without its 1 so that small terms do not drown; a factor is at most 2, so FLUSH of them stay finite.
class LossSum {
 public:
  // z [lanes] -> G; adds the loss.
  inline F bce(F z) {
    F one = set(1.0f);
    F e = exp_minus(abs_of(z));
    product_ = fma(e, product_ + one, product_);
    linear_ = linear_ + max_of(zero(), z);
    return select(less(z, zero()), e, one) / (one + e);
  }

  inline F squared_hinge(F z) {
    F slack = max_of(zero(), set(1.0f) + z);
    linear_ = fma(slack, slack, linear_);
    return slack + slack;
  }

  // below = log Z - z >= 0 but for rounding; y: the share at the positives, zero elsewhere.
  inline F softmax(F below, F y) {
    linear_ = fma(y, below, linear_);
    return exp_minus(below) - y;
  }

  // After `vectors` calls.
  inline void count(int vectors) {
    pending_ += vectors;
    if (pending_ >= FLUSH) flush();
  }

  double total() {
    flush();
    return reduce_add(sum_);
  }

 private:
  static constexpr int FLUSH = 40;

  inline void flush() {
    sum_ = add_wide(add_wide(sum_, linear_), log1p_of(product_));
    linear_ = zero();
    product_ = zero();
    pending_ = 0;
  }

  F product_ = zero();
  F linear_ = zero();
  D2 sum_ = zero_d2();
  int pending_ = 0;
};

}  // namespace
}  // namespace ES_NS
