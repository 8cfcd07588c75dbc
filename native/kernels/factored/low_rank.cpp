// table += (table left^T) right in one pass over the table: what moves a few directions between its two factors.
#include "../isa.h"

namespace ES_NS {
namespace {

// Rows that share one pass over `left` and `right`, and directions between two visits of the rows.
constexpr int ROWS = 4;
constexpr int64_t RANKS = 32;

template <int N>
inline void some_rows(int64_t dim, int64_t rank, const float *left, const float *right, float *table) {
  float part[RANKS][N];
  for (int64_t r = 0; r < rank; r++) {
    F sum[N];
    for (int i = 0; i < N; i++) sum[i] = zero();
    over_lanes(dim, [&](int64_t j, int lanes) {
      F x = get(left + r * dim + j, lanes);
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) sum[i] = fma(get(table + i * dim + j, lanes), x, sum[i]);
    });
    for (int i = 0; i < N; i++) part[r][i] = reduce_add(sum[i]);
  }
  over_lanes(dim, [&](int64_t j, int lanes) {
    F sum[N];
    for (int i = 0; i < N; i++) sum[i] = zero();
    for (int64_t r = 0; r < rank; r++) {
      F x = get(right + r * dim + j, lanes);
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) sum[i] = fma(set(part[r][i]), x, sum[i]);
    }
    for (int i = 0; i < N; i++) put(table + i * dim + j, get(table + i * dim + j, lanes) + sum[i], lanes);
  });
}

}  // namespace

int low_rank(int64_t rows, int64_t dim, int64_t rank, const float *left, const float *right, float *table) {
  // More directions would need the products before any of them is added.
  if (rows < 0 || dim < 0 || rank < 0 || rank > RANKS) return ES_BAD_ARGUMENT;
  if (rank == 0) return ES_OK;
  // Cut at whole blocks, so that every row is worked on alike whatever the threads.
  parallel_ranges(rows, (65536 / (dim + 1) + 1 + ROWS - 1) / ROWS * ROWS, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + ROWS <= end; i += ROWS) some_rows<ROWS>(dim, rank, left, right, table + i * dim);
    for (; i < end; i++) some_rows<1>(dim, rank, left, right, table + i * dim);
  });
  return ES_OK;
}

int scale_rows(int64_t rows, int64_t cols, const float *x, const float *factors, float *out, int32_t accumulate) {
  parallel_ranges(rows, 16384 / (cols + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      F factor = set(factors[i]);
      const float *from = x + i * cols;
      float *to = out + i * cols;
      over_lanes(cols, [&](int64_t j, int lanes) {
        F a = get(from + j, lanes);
        put(to + j, accumulate ? fma(factor, a, get(to + j, lanes)) : factor * a, lanes);
      });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
