// What happens to the gradient of a chunk while it is in cache: scale, count, hand out, apply.
#pragma once

#include "../update/rules.h"

namespace ES_NS {
namespace {

struct Update {
  const double *rule;   // null: leave the weights alone
  double grad_scale;    // of G, in every gradient
  double update_scale;  // of the gradient, in the rule only
  bool squares;

  // A gradient of zero changes nothing and is not asked for: it may be skipped.
  bool is_lazy(const Target &to) const {
    if (to.gradient != nullptr) return false;
    if (rule == nullptr) return true;
    Rule r(rule);
    return r.kind == RULE_SGD && to.m == nullptr && r.weight_decay == 0;
  }
};

// g [n]: the sums over the batch, not yet times grad_scale. Returns the sum of squares of the gradient.
inline double apply_update(const Update &how, bool decays, int64_t n, const float *g, const Target &to) {
  D2 squares = zero_d2();
  F scale = set_double(how.grad_scale);
  if (how.squares || to.gradient != nullptr) {
    over_lanes(n, [&](int64_t i, int k) {
      F gradient = scale * get(g + i, k);
      if (how.squares) squares = add_wide_square(squares, gradient);
      if (to.gradient != nullptr) put(to.gradient + i, gradient, k);
    });
  }
  if (how.rule != nullptr) {
    Rule rule(how.rule);
    double decay = decays ? rule.weight_decay : 0;
    F both = set_double(how.grad_scale * how.update_scale);
    apply_rule(rule, decay, n, g, both, to);
  }
  return reduce_add(squares);
}

}  // namespace
}  // namespace ES_NS
