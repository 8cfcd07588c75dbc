// Rows of a large table that a batch names, against rows of a small matrix: what the targets of a batch cost.
#include "../isa.h"

namespace ES_NS {
namespace {

inline bool in_range(int64_t count, int64_t labels, int64_t rows, const uint32_t *label, const uint32_t *row) {
  for (int64_t i = 0; i < count; i++) {
    if (static_cast<int64_t>(label[i]) >= labels || static_cast<int64_t>(row[i]) >= rows) return false;
  }
  return true;
}

inline bool sizes_fit(int64_t count, int64_t labels, int64_t rows, int64_t dim) {
  return count >= 0 && labels >= 0 && rows >= 0 && dim >= 0;
}

inline void prefetch_row(const float *row, int64_t dim) {
  for (int64_t j = 0; j < dim && j < 256; j += 16) __builtin_prefetch(row + j);
}

inline float dot(int64_t n, const float *a, const float *b) {
  F sum[4] = {zero(), zero(), zero(), zero()};
  int64_t j = 0;
  for (; j + 4 * W <= n; j += 4 * W) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) sum[v] = fma(load(a + j + v * W), load(b + j + v * W), sum[v]);
  }
  for (; j < n; j += W) {
    int rest = n - j < W ? static_cast<int>(n - j) : W;
    sum[0] = fma(load_n(a + j, rest), load_n(b + j, rest), sum[0]);
  }
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// to += factor * from
inline void add_scaled(int64_t n, F factor, const float *from, float *to) {
  over_lanes(n, [&](int64_t j, int lanes) { put(to + j, fma(factor, get(from + j, lanes), get(to + j, lanes)), lanes); });
}

// Threads share the columns, so that pairs of one row or one label are added in order, whoever runs them.
constexpr int64_t COLUMNS = 64;

inline int64_t column_grain(int64_t count, int64_t dim) { return count * dim < 16384 ? dim + 1 : COLUMNS; }

}  // namespace

int pair_dots(int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row,
              const float *table, const float *x, float *out) {
  if (!sizes_fit(count, labels, rows, dim)) return ES_BAD_ARGUMENT;
  if (!in_range(count, labels, rows, label, row)) return ES_INDEX_RANGE;
  parallel_ranges(count, 16384 / (dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      if (i + 2 < end) prefetch_row(table + label[i + 2] * dim, dim);
      out[i] = dot(dim, table + label[i] * dim, x + row[i] * dim);
    }
  });
  return ES_OK;
}

int pair_gather(int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row,
                const float *table, const float *coefficients, float *out) {
  if (!sizes_fit(count, labels, rows, dim)) return ES_BAD_ARGUMENT;
  if (!in_range(count, labels, rows, label, row)) return ES_INDEX_RANGE;
  parallel_ranges(dim, column_grain(count + rows, dim), [&](int64_t begin, int64_t end) {
    int64_t n = end - begin;
    for (int64_t r = 0; r < rows; r++) {
      over_lanes(n, [&](int64_t j, int lanes) { put(out + r * dim + begin + j, zero(), lanes); });
    }
    for (int64_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetch_row(table + label[i + 2] * dim + begin, n);
      add_scaled(n, set(coefficients[i]), table + label[i] * dim + begin, out + row[i] * dim + begin);
    }
  });
  return ES_OK;
}

int pair_scatter(int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row,
                 float *table, double alpha, const float *coefficients, const float *x) {
  if (!sizes_fit(count, labels, rows, dim)) return ES_BAD_ARGUMENT;
  if (!in_range(count, labels, rows, label, row)) return ES_INDEX_RANGE;
  parallel_ranges(dim, column_grain(count, dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetch_row(table + label[i + 2] * dim + begin, end - begin);
      F factor = set_double(alpha * static_cast<double>(coefficients[i]));
      add_scaled(end - begin, factor, x + row[i] * dim + begin, table + label[i] * dim + begin);
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
