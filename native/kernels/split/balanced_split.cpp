#include "../isa.h"

namespace ES_NS {
namespace {

// All arithmetic is in doubles, in an order that neither threads nor instruction sets change, so that the halves
// are the same everywhere; the twin in TypeScript adds in the same order.
struct Rows {
  const int32_t *indptr;
  const uint32_t *indices;
  const float *values;  // null: ones
};

// The sums of both halves: sums[2 v] of the left one, sums[2 v + 1] of the right one, v a feature.
inline void add_row(const Rows &in, uint32_t row, double left, double right, double *sums) {
  for (int64_t e = in.indptr[row]; e < in.indptr[row + 1]; e++) {
    double x = in.values == nullptr ? 1.0 : static_cast<double>(in.values[e]);
    double *at = sums + 2 * static_cast<int64_t>(in.indices[e]);
    at[0] += x * left;
    at[1] += x * right;
  }
}

inline void clear_row(const Rows &in, uint32_t row, double *sums) {
  for (int64_t e = in.indptr[row]; e < in.indptr[row + 1]; e++) {
    double *at = sums + 2 * static_cast<int64_t>(in.indices[e]);
    at[0] = 0;
    at[1] = 0;
  }
}

// The products of a row with both sums, in four lanes by position: (0 + 1) + (2 + 3).
inline void dot_row(const Rows &in, uint32_t row, const double *sums, double *left, double *right) {
  double l[4] = {0, 0, 0, 0}, r[4] = {0, 0, 0, 0};
  int64_t begin = in.indptr[row], end = in.indptr[row + 1], e = begin;
  for (; e + 4 <= end; e += 4) {
    for (int i = 0; i < 4; i++) {
      double x = in.values == nullptr ? 1.0 : static_cast<double>(in.values[e + i]);
      const double *at = sums + 2 * static_cast<int64_t>(in.indices[e + i]);
      l[i] += x * at[0];
      r[i] += x * at[1];
    }
  }
  for (int i = 0; e < end; e++, i++) {
    double x = in.values == nullptr ? 1.0 : static_cast<double>(in.values[e]);
    const double *at = sums + 2 * static_cast<int64_t>(in.indices[e]);
    l[i] += x * at[0];
    r[i] += x * at[1];
  }
  *left = (l[0] + l[1]) + (l[2] + l[3]);
  *right = (r[0] + r[1]) + (r[2] + r[3]);
}

inline void swap(double *a, double *b) {
  double held = *a;
  *a = *b;
  *b = held;
}

// The k-th largest of x, k from 1; reorders x (Hoare 1961, pivots: medians of three).
inline double kth_largest(int64_t n, int64_t k, double *x) {
  int64_t low = 0, high = n - 1, wanted = k - 1;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (x[middle] > x[low]) swap(x + middle, x + low);
    if (x[high] > x[low]) swap(x + high, x + low);
    if (x[high] > x[middle]) swap(x + high, x + middle);
    double pivot = x[middle];
    int64_t i = low, j = high;
    while (i <= j) {
      while (x[i] > pivot) i++;
      while (x[j] < pivot) j--;
      if (i <= j) swap(x + i++, x + j--);
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return x[wanted];
}

struct Segment {
  int64_t n;
  uint32_t *order;   // [n]
  double *left;      // [n]: products with the sum of the left half, then scores
  double *right;     // [n]
  double *sorted;    // [n]
  uint32_t *on_left; // [n]: 1 or 0
  double *sums;      // [2 * features], zero before and after
};

constexpr int64_t GRAIN = 256;

inline void dot_all(const Rows &in, const Segment &s) {
  parallel_ranges(s.n, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) dot_row(in, s.order[i], s.sums, s.left + i, s.right + i);
  });
}

// score = left * scale_left - right * scale_right; the largest ceil(n / 2) go left, ties in the order of the list.
// Rows that change sides are moved between the sums when `move`. Returns how many do.
inline int64_t assign(const Rows &in, const Segment &s, double scale_left, double scale_right, bool move) {
  int64_t n = s.n, wanted = (n + 1) / 2;
  for (int64_t i = 0; i < n; i++) {
    double score = s.left[i] * scale_left - s.right[i] * scale_right;
    s.left[i] = s.sorted[i] = score == score ? score : -__builtin_inf();
  }
  double threshold = kth_largest(n, wanted, s.sorted);
  int64_t ties = wanted, changed = 0;
  for (int64_t i = 0; i < n; i++) ties -= s.left[i] > threshold;
  for (int64_t i = 0; i < n; i++) {
    bool tied = s.left[i] == threshold && ties > 0;
    ties -= tied;
    uint32_t now = s.left[i] > threshold || tied;
    if (now == s.on_left[i]) continue;
    s.on_left[i] = now;
    changed++;
    if (move) add_row(in, s.order[i], now ? 1.0 : -1.0, now ? -1.0 : 1.0, s.sums);
  }
  return changed;
}

inline double similarity_of(const Segment &s, double *norm_left, double *norm_right) {
  double left = 0, right = 0;
  for (int64_t i = 0; i < s.n; i++) {
    if (s.on_left[i]) left += s.left[i];
    else right += s.right[i];
  }
  *norm_left = left > 0 ? __builtin_sqrt(left) : 0;
  *norm_right = right > 0 ? __builtin_sqrt(right) : 0;
  return (*norm_left + *norm_right) / static_cast<double>(s.n);
}

// The left half first, rows in their order within both.
inline void reorder(const Segment &s) {
  int64_t kept = 0, moved = 0;
  for (int64_t i = 0; i < s.n; i++) {
    if (s.on_left[i]) s.order[kept++] = s.order[i];
    else s.sorted[moved++] = static_cast<double>(s.order[i]);
  }
  for (int64_t i = 0; i < moved; i++) s.order[kept + i] = static_cast<uint32_t>(s.sorted[i]);
}

inline double split(const Rows &in, const Segment &s, uint32_t start_left, uint32_t start_right, double min_gain) {
  if (s.n < 2) return 0;
  uint32_t first = s.order[start_left], second = s.order[start_right];
  add_row(in, first, 1, 0, s.sums);
  add_row(in, second, 0, 1, s.sums);
  dot_all(in, s);
  clear_row(in, first, s.sums);
  clear_row(in, second, s.sums);
  for (int64_t i = 0; i < s.n; i++) s.on_left[i] = 0;
  assign(in, s, 1, 1, false);
  for (int64_t i = 0; i < s.n; i++) add_row(in, s.order[i], s.on_left[i] ? 1 : 0, s.on_left[i] ? 0 : 1, s.sums);
  double before = -__builtin_inf(), similarity, norm_left, norm_right;
  for (;;) {
    dot_all(in, s);
    similarity = similarity_of(s, &norm_left, &norm_right);
    if (!(similarity - before >= min_gain)) break;
    before = similarity;
    double scale_left = norm_left > 0 ? 1 / norm_left : 0, scale_right = norm_right > 0 ? 1 / norm_right : 0;
    if (assign(in, s, scale_left, scale_right, true) == 0) break;
  }
  for (int64_t i = 0; i < s.n; i++) clear_row(in, s.order[i], s.sums);
  reorder(s);
  return similarity;
}

}  // namespace

int balanced_split(int64_t rows, int64_t features, int64_t entries, const int32_t *indptr, const uint32_t *indices,
                   const float *values, int64_t segments, int64_t listed, const int32_t *bounds,
                   const uint32_t *starts, double min_gain, uint32_t *order, double *sums, int64_t sums_length,
                   double *scores, uint32_t *sides, double *similarity) {
  if (rows < 0 || features < 0 || segments < 0 || !(min_gain > 0)) return ES_BAD_ARGUMENT;
  if (sums_length < 2 * features) return ES_BAD_ARGUMENT;
  bool good = indptr[0] >= 0 && indptr[rows] <= entries && bounds[0] >= 0 && bounds[segments] <= listed;
  for (int64_t i = 0; i < rows; i++) good &= indptr[i] <= indptr[i + 1];
  for (int64_t s = 0; s < segments; s++) good &= bounds[s] <= bounds[s + 1];
  if (!good) return ES_INDEX_RANGE;
  for (int64_t e = indptr[0]; e < indptr[rows]; e++) good &= static_cast<int64_t>(indices[e]) < features;
  for (int64_t i = bounds[0]; i < bounds[segments]; i++) good &= static_cast<int64_t>(order[i]) < rows;
  for (int64_t s = 0; s < segments; s++) {
    int64_t n = bounds[s + 1] - bounds[s];
    good &= n < 2 || (static_cast<int64_t>(starts[2 * s]) < n && static_cast<int64_t>(starts[2 * s + 1]) < n);
  }
  if (!good) return ES_INDEX_RANGE;

  Rows in{indptr, indices, values};
  int64_t room = features == 0 ? segments : sums_length / (2 * features);
  int workers = es_parallel_workers(65536);
  // Fewer segments than threads: one after the other, threads share the rows of each. Else a thread has segments of
  // its own, as many threads as there are sums for.
  if (segments < workers) workers = 1;
  if (workers > room) workers = static_cast<int>(room);
  for (int64_t i = 0; i < 2 * features * workers; i++) sums[i] = 0;
  auto run = [&](int64_t s, int task) {
    int64_t begin = bounds[s];
    Segment one{bounds[s + 1] - begin, order + begin,          scores + begin,
                scores + listed + begin, scores + 2 * listed + begin, sides + begin, sums + 2 * features * task};
    similarity[s] = split(in, one, starts[2 * s], starts[2 * s + 1], min_gain);
  };
  if (workers == 1) {
    for (int64_t s = 0; s < segments; s++) run(s, 0);
  } else {
    parallel_tasks(workers, [&](int task, int) {
      for (int64_t s = task; s < segments; s += workers) run(s, task);
    });
  }
  return ES_OK;
}

}  // namespace ES_NS
