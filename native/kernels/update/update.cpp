#include "rules.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 16384;

inline bool has_moments(const Rule &rule, const float *m, const float *v) {
  if (rule.kind == RULE_SGD) return true;
  if (rule.kind == RULE_ADAM) return m != nullptr && v != nullptr;
  return rule.kind == RULE_ADAGRAD && v != nullptr;
}

}  // namespace

int update(int64_t n, const double *rule, float *w, const float *g, float *m, float *v, double grad_scale) {
  if (n <= 0) return ES_OK;  // an empty array is a null pointer
  if (!has_moments(Rule(rule), m, v)) return ES_BAD_ARGUMENT;
  Rule how(rule);
  F scale = set_double(grad_scale);
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    apply_rule(how, how.weight_decay, end - begin, g + begin, scale, Target{w, m, v, nullptr}.from(begin));
  });
  return ES_OK;
}

int update_rows(int64_t count, int64_t dim, int64_t total_rows, const uint32_t *rows, const double *rule, float *w,
                const float *g, float *m, float *v, double grad_scale) {
  if (count <= 0 || dim <= 0) return ES_OK;
  if (!has_moments(Rule(rule), m, v)) return ES_BAD_ARGUMENT;
  bool ascending = true;
  for (int64_t t = 0; t < count; t++) {
    if (static_cast<int64_t>(rows[t]) >= total_rows) return ES_INDEX_RANGE;
    ascending &= t == 0 || rows[t - 1] < rows[t];
  }
  Rule how(rule);
  F scale = set_double(grad_scale);
  int64_t grain = (GRAIN + dim - 1) / dim;
  // A row that occurs twice is updated twice, in order; only one thread may then see it.
  parallel_ranges(count, ascending ? grain : count + 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      if (t + 2 < end) {
        int64_t next = static_cast<int64_t>(rows[t + 2]) * dim;
        for (int64_t j = 0; j < dim && j < 64; j += 16) {
          __builtin_prefetch(w + next + j, 1);
          if (m != nullptr) __builtin_prefetch(m + next + j, 1);
          if (v != nullptr) __builtin_prefetch(v + next + j, 1);
        }
      }
      Target row = Target{w, m, v, nullptr}.from(static_cast<int64_t>(rows[t]) * dim);
      apply_rule(how, how.weight_decay, dim, g + t * dim, scale, row);
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
