#include "../isa.h"

namespace ES_NS {
namespace {

// Rows of this many classes that are worth a thread.
inline int64_t row_grain(int64_t classes) { return 1 + 16384 / (classes + 1); }

inline float largest(int64_t n, const float *z) {
  F most = set(z[0]);
  over_lanes(n, [&](int64_t j, int k) {
    F a = get(z + j, k);
    if (k < W) {
      for (int64_t i = j; i < n; i++) most = max_of(most, set(z[i]));
    } else {
      most = max_of(most, a);
    }
  });
  return reduce_max(most);
}

// Whether z[label] is the largest of the row, and the first of equals.
inline bool leads(int64_t n, const float *z, int64_t label, float most) {
  if (!(z[label] == most)) return false;
  for (int64_t j = 0; j < label; j++)
    if (z[j] == most) return false;
  (void)n;
  return true;
}

}  // namespace

// p = softmax(z); loss = log sum_j e^(z_j) - (1 - s) z_label - s mean(z); dz = scale (p - (1 - s) 1[label] - s / classes).
int softmax_cross_entropy(int64_t rows, int64_t classes, const float *z, const uint32_t *labels, double smoothing,
                          double grad_scale, float *dz, float *losses, double *totals) {
  totals[0] = totals[1] = 0;
  if (rows <= 0) return ES_OK;
  if (classes <= 0) return ES_BAD_ARGUMENT;
  for (int64_t i = 0; i < rows; i++)
    if (static_cast<int64_t>(labels[i]) >= classes) return ES_INDEX_RANGE;
  float everywhere = static_cast<float>(-grad_scale * smoothing / static_cast<double>(classes));
  float at_label = static_cast<float>(-grad_scale * (1 - smoothing));
  // One count per part, whose cut does not matter: whole numbers add up the same in any order.
  int64_t correct = 0;
  parallel_ranges(rows, row_grain(classes), [&](int64_t begin, int64_t end) {
    int64_t hits = 0;
    for (int64_t i = begin; i < end; i++) {
      const float *row = z + i * classes;
      int64_t label = static_cast<int64_t>(labels[i]);
      float most = largest(classes, row), of_label = row[label];
      hits += leads(classes, row, label, most) ? 1 : 0;
      F shift = set(most);
      D2 powers = zero_d2(), sizes = zero_d2();
      over_lanes(classes, [&](int64_t j, int k) {
        F a = get(row + j, k) - shift;
        powers = add_wide(powers, keep_n(exp_of(a), k));
        if (smoothing != 0) sizes = add_wide(sizes, keep_n(a, k));
      });
      double total = reduce_add(powers);
      double loss = __builtin_log(total) - (1 - smoothing) * (static_cast<double>(of_label) - static_cast<double>(most));
      if (smoothing != 0) loss -= smoothing * reduce_add(sizes) / static_cast<double>(classes);
      losses[i] = static_cast<float>(loss);
      if (dz == nullptr) continue;
      float *out = dz + i * classes;
      F factor = set(static_cast<float>(grad_scale / total)), rest = set(everywhere);
      over_lanes(classes, [&](int64_t j, int k) { put(out + j, fma(exp_of(get(row + j, k) - shift), factor, rest), k); });
      out[label] += at_label;
    }
    __atomic_fetch_add(&correct, hits, __ATOMIC_RELAXED);
  });
  double sum = 0;
  for (int64_t i = 0; i < rows; i++) sum += static_cast<double>(losses[i]);
  totals[0] = sum;
  totals[1] = static_cast<double>(correct);
  return ES_OK;
}

}  // namespace ES_NS
