// Rows of a table catch up with changes of low rank, table <- table + (table left^T) right, that were decided since
// they were last settled: what moves a few directions between the two factors without a pass over the large one.
#include "../isa.h"

namespace ES_NS {
namespace {

// Rows that share one pass over `left` and `right`, and changes that may wait.
constexpr int ROWS = 4;
constexpr int64_t RANKS = 32;

struct Changes {
  int64_t dim, rank;
  const float *left, *right, *cross;
};

// N consecutive rows, all settled up to change `first`.
template <int N>
inline void settle(const Changes &c, int64_t first, float *row) {
  float part[RANKS][N];
  for (int64_t r = first; r < c.rank; r++) {
    F sum[N];
    for (int i = 0; i < N; i++) sum[i] = zero();
    over_lanes(c.dim, [&](int64_t j, int lanes) {
      F x = get(c.left + r * c.dim + j, lanes);
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) sum[i] = fma(get(row + i * c.dim + j, lanes), x, sum[i]);
    });
    for (int i = 0; i < N; i++) {
      float total = reduce_add(sum[i]);
      // What the changes before this one add to the row, seen from its left side.
      for (int64_t f = first; f < r; f++) total += part[f][i] * c.cross[f * RANKS + r];
      part[r][i] = total;
    }
  }
  over_lanes(c.dim, [&](int64_t j, int lanes) {
    F sum[N];
    for (int i = 0; i < N; i++) sum[i] = zero();
    for (int64_t r = first; r < c.rank; r++) {
      F x = get(c.right + r * c.dim + j, lanes);
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) sum[i] = fma(set(part[r][i]), x, sum[i]);
    }
    for (int i = 0; i < N; i++) put(row + i * c.dim + j, get(row + i * c.dim + j, lanes) + sum[i], lanes);
  });
}

}  // namespace

int settle_rows(int64_t count, int64_t labels, int64_t dim, int64_t rank, const float *left, const float *right,
                const float *cross, const uint32_t *label, uint16_t *stamps, float *table) {
  if (count < 0 || dim < 0 || rank < 0 || rank > RANKS) return ES_BAD_ARGUMENT;
  if (label == nullptr && count > labels) return ES_INDEX_RANGE;
  for (int64_t i = 0; label != nullptr && i < count; i++) {
    // Ascending, so that rows named twice are neighbours.
    if (static_cast<int64_t>(label[i]) >= labels || (i > 0 && label[i] < label[i - 1])) return ES_INDEX_RANGE;
  }
  const Changes changes{dim, rank, left, right, cross};
  if (label != nullptr) {
    parallel_ranges(count, 16384 / (dim + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        // The first of equal labels settles the row; it may belong to another thread.
        if (i > 0 && label[i] == label[i - 1]) continue;
        if (stamps[i] < rank) settle<1>(changes, stamps[i], table + label[i] * dim);
      }
    });
    return ES_OK;
  }
  parallel_ranges(count, (65536 / (dim + 1) + 1 + ROWS - 1) / ROWS * ROWS, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      int64_t first = stamps[i];
      bool alike = i + ROWS <= end;
      for (int n = 1; alike && n < ROWS; n++) alike = stamps[i + n] == first;
      if (first < rank) {
        if (alike) settle<ROWS>(changes, first, table + i * dim);
        else settle<1>(changes, first, table + i * dim);
      }
      i += alike ? ROWS : 1;
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
