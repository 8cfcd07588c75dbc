// The update rules of the optimisers over contiguous parameters.
#pragma once

#include <stddef.h>

#include "../isa.h"

namespace ES_NS {
namespace {

enum { RULE_SGD = 0, RULE_ADAM = 1, RULE_ADAGRAD = 2 };

// An UpdateRule as numbers: see packRule in src/kernels/native-output.ts.
struct Rule {
  int kind;
  bool nesterov, decoupled;
  double rate, momentum, beta1, beta2, eps, weight_decay, correction1, correction2;

  explicit Rule(const double *r)
      : kind(static_cast<int>(r[0])),
        nesterov(r[3] != 0),
        decoupled(r[8] != 0),
        rate(r[1]),
        momentum(r[2]),
        beta1(r[4]),
        beta2(r[5]),
        eps(r[6]),
        weight_decay(r[7]),
        correction1(r[9]),
        correction2(r[10]) {}
};

// One array of parameters with what belongs to it.
struct Target {
  float *w;
  float *m;
  float *v;
  float *gradient;  // out, or null

  Target from(int64_t at) const {
    return {w + at, m == nullptr ? m : m + at, v == nullptr ? v : v + at, gradient == nullptr ? gradient : gradient + at};
  }
};

inline void update_sgd(const Rule &rule, double decay, int64_t n, const float *g, F scale, const Target &to) {
  F rate = set_double(rule.rate), shrink = set_double(decay), momentum = set_double(rule.momentum);
  if (to.m == nullptr) {
    over_lanes(n, [&](int64_t i, int k) {
      F w = get(to.w + i, k);
      put(to.w + i, fnma(rate, fma(shrink, w, scale * get(g + i, k)), w), k);
    });
    return;
  }
  over_lanes(n, [&](int64_t i, int k) {
    F w = get(to.w + i, k);
    F gradient = fma(shrink, w, scale * get(g + i, k));
    F m = fma(momentum, get(to.m + i, k), gradient);
    put(to.m + i, m, k);
    put(to.w + i, fnma(rate, rule.nesterov ? fma(momentum, m, gradient) : m, w), k);
  });
}

inline void update_adam(const Rule &rule, double decay, int64_t n, const float *g, F scale, const Target &to) {
  F coupled = set_double(rule.decoupled ? 0 : decay), keep = set_double(rule.decoupled ? 1 - rule.rate * decay : 1);
  F beta1 = set_double(rule.beta1), rest1 = set_double(1 - rule.beta1);
  F beta2 = set_double(rule.beta2), rest2 = set_double(1 - rule.beta2);
  F step = set_double(rule.rate / rule.correction1), inverse2 = set_double(1 / rule.correction2);
  F eps = set_double(rule.eps);
  over_lanes(n, [&](int64_t i, int k) {
    F w = get(to.w + i, k);
    F gradient = fma(coupled, w, scale * get(g + i, k));
    F m = fma(beta1, get(to.m + i, k), rest1 * gradient);
    F v = fma(beta2, get(to.v + i, k), rest2 * gradient * gradient);
    put(to.m + i, m, k);
    put(to.v + i, v, k);
    put(to.w + i, fnma(step, m / (sqrt_of(v * inverse2) + eps), keep * w), k);
  });
}

inline void update_adagrad(const Rule &rule, double decay, int64_t n, const float *g, F scale, const Target &to) {
  F rate = set_double(rule.rate), shrink = set_double(decay), eps = set_double(rule.eps);
  over_lanes(n, [&](int64_t i, int k) {
    F w = get(to.w + i, k);
    F gradient = fma(shrink, w, scale * get(g + i, k));
    F v = fma(gradient, gradient, get(to.v + i, k));
    put(to.v + i, v, k);
    // No gradient, no step: with eps = 0 a weight that never had one would get 0 / 0.
    F size = abs_of(gradient), moved = fnma(rate, gradient / (sqrt_of(v) + eps), w);
    put(to.w + i, select(less(zero(), size), moved, fma(zero(), gradient, w)), k);
  });
}

// One step of the rule with the gradient scale * g; decay is the weight decay to use.
inline void apply_rule(const Rule &rule, double decay, int64_t n, const float *g, F scale, const Target &to) {
  if (rule.kind == RULE_SGD) update_sgd(rule, decay, n, g, scale, to);
  else if (rule.kind == RULE_ADAM) update_adam(rule, decay, n, g, scale, to);
  else update_adagrad(rule, decay, n, g, scale, to);
}

}  // namespace
}  // namespace ES_NS
