#include "../isa.h"

namespace ES_NS {
namespace {

// Sums of weighted rows: out[0, dim) = bias + sum over e in [begin, end) of value[e] * source[row[e], :].
struct Rows {
  int64_t dim;
  const uint32_t *row;
  const float *value;  // null: ones
  const float *source;
  int64_t last;  // of the entries that may be looked ahead at
};

constexpr int64_t AHEAD = 4;  // entries; the rows are scattered, so the hardware cannot guess them

template <int NV>
inline void sum_lanes(const Rows &in, int64_t begin, int64_t end, int64_t d, const float *bias, float *out) {
  F sum[NV];
  for (int v = 0; v < NV; v++) sum[v] = bias == nullptr ? zero() : load(bias + d + v * W);
  for (int64_t e = begin; e < end; e++) {
    if (e + AHEAD < in.last) {
      const float *next = in.source + static_cast<int64_t>(in.row[e + AHEAD]) * in.dim + d;
      for (int v = 0; v < NV * W; v += 16) __builtin_prefetch(next + v);
    }
    F x = set(in.value == nullptr ? 1.0f : in.value[e]);
    const float *row = in.source + static_cast<int64_t>(in.row[e]) * in.dim + d;
    for (int v = 0; v < NV; v++) sum[v] = fma(x, load(row + v * W), sum[v]);
  }
  for (int v = 0; v < NV; v++) store(out + d + v * W, sum[v]);
}

inline void sum_rows(const Rows &in, int64_t begin, int64_t end, const float *bias, float *out) {
  int64_t d = 0;
  for (; d + 8 * W <= in.dim; d += 8 * W) sum_lanes<8>(in, begin, end, d, bias, out);
  for (; d + 2 * W <= in.dim; d += 2 * W) sum_lanes<2>(in, begin, end, d, bias, out);
  for (; d + W <= in.dim; d += W) sum_lanes<1>(in, begin, end, d, bias, out);
  int rest = static_cast<int>(in.dim - d);
  if (rest == 0) return;
  F sum = bias == nullptr ? zero() : load_n(bias + d, rest);
  for (int64_t e = begin; e < end; e++) {
    F x = set(in.value == nullptr ? 1.0f : in.value[e]);
    sum = fma(x, load_n(in.source + static_cast<int64_t>(in.row[e]) * in.dim + d, rest), sum);
  }
  store_n(out + d, sum, rest);
}

// True when pointer[0..count] ascends within [0, entries].
inline bool ascending(int64_t count, const int32_t *pointer, int64_t entries) {
  bool good = pointer[0] >= 0 && pointer[count] <= entries;
  for (int64_t i = 0; i < count; i++) good &= pointer[i] <= pointer[i + 1];
  return good;
}

inline bool all_below(int64_t begin, int64_t end, const uint32_t *index, int64_t limit) {
  uint32_t largest = 0;
  for (int64_t e = begin; e < end; e++) largest = index[e] > largest ? index[e] : largest;
  return begin >= end || static_cast<int64_t>(largest) < limit;
}

// The first t with pointer[t] + t >= target: cuts work into equal shares of entries and rows together.
inline int64_t cut(int64_t count, const int32_t *pointer, int64_t target) {
  int64_t low = 0, high = count;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (pointer[middle] - pointer[0] + middle < target) low = middle + 1;
    else high = middle;
  }
  return low;
}

// out[i, :] = bias + the rows of pointer[i] to pointer[i + 1], for i in [0, count).
inline void sum_all(const Rows &in, int64_t count, const int32_t *pointer, const float *bias, float *out) {
  int64_t work = pointer[count] - pointer[0] + count;
  int64_t shares = work * in.dim / 32768 + 1;
  int workers = es_parallel_workers(shares > 65536 ? 65536 : static_cast<int>(shares));
  parallel_tasks(workers, [&](int task, int) {
    int64_t begin = cut(count, pointer, work * task / workers);
    int64_t end = task + 1 == workers ? count : cut(count, pointer, work * (task + 1) / workers);
    for (int64_t i = begin; i < end; i++) sum_rows(in, pointer[i], pointer[i + 1], bias, out + i * in.dim);
  });
}

}  // namespace

int bag_forward(int64_t rows, int64_t vocab, int64_t dim, int64_t entries, const int32_t *indptr,
                const uint32_t *indices, const float *values, const float *table, const float *bias, float *out) {
  if (rows < 0 || dim < 0) return ES_BAD_ARGUMENT;
  if (!ascending(rows, indptr, entries)) return ES_INDEX_RANGE;
  if (!all_below(indptr[0], indptr[rows], indices, vocab)) return ES_INDEX_RANGE;
  sum_all({dim, indices, values, table, indptr[rows]}, rows, indptr, bias, out);
  return ES_OK;
}

int bag_backward(int64_t count, int64_t rows, int64_t dim, int64_t entries, const int32_t *colptr,
                 const uint32_t *row_of, const float *value_of, const float *dy, float *grad) {
  if (count < 0 || dim < 0) return ES_BAD_ARGUMENT;
  if (!ascending(count, colptr, entries)) return ES_INDEX_RANGE;
  if (!all_below(colptr[0], colptr[count], row_of, rows)) return ES_INDEX_RANGE;
  sum_all({dim, row_of, value_of, dy, colptr[count]}, count, colptr, nullptr, grad);
  return ES_OK;
}

}  // namespace ES_NS
