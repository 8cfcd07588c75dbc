#include "gemm_pairs.h"

namespace ES_NS {
namespace {

// Below this many multiply-adds per thread another thread costs more than it brings.
constexpr int64_t WORTH_A_THREAD = 1 << 18;

struct Grid {
  int rows, cols;
};

// The split of c among threads with the smallest largest part; ties: the fewest rows of threads, since every
// row of threads packs all of b again.
inline Grid choose_grid(int64_t strips, int64_t panels, int threads) {
  Grid best = {1, 1};
  int64_t best_part = strips * panels;
  for (int rows = 1; rows <= threads; rows++) {
    int cols = threads / rows;
    if (rows > strips) break;
    if (cols > panels) cols = static_cast<int>(panels);
    int64_t part = ((strips + rows - 1) / rows) * ((panels + cols - 1) / cols);
    if (part < best_part) {
      best_part = part;
      best = {rows, cols};
    }
  }
  return best;
}

// Small batches against b stored [n,k]: dot products in place, nothing packed.
constexpr int DOT_COLS = W == 16 ? 4 : 2;  // 4 x DOT_COLS sums and their operands fit the registers

template <int ROWS>
inline void dots(int64_t begin, int64_t end, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                 float *c, int64_t ldc, const TileEnd &tile_end) {
  constexpr int COLS = DOT_COLS;
  for (int64_t j = begin; j < end; j += COLS) {
    int cols = end - j < COLS ? static_cast<int>(end - j) : COLS;
    const float *row[COLS];
    for (int q = 0; q < COLS; q++) row[q] = b + (j + (q < cols ? q : cols - 1)) * ldb;
    F sum[ROWS][COLS];
    for (int i = 0; i < ROWS; i++)
      for (int q = 0; q < COLS; q++) sum[i][q] = zero();
    int64_t x = 0;
    for (; x + W <= k; x += W) {
#pragma GCC unroll 4
      for (int q = 0; q < COLS; q++) {
        F right = load(row[q] + x);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) sum[i][q] = fma(load(a + i * lda + x), right, sum[i][q]);
      }
    }
    if (x < k) {
      int rest = static_cast<int>(k - x);
      for (int q = 0; q < COLS; q++) {
        F right = load_n(row[q] + x, rest);
        for (int i = 0; i < ROWS; i++) sum[i][q] = fma(load_n(a + i * lda + x, rest), right, sum[i][q]);
      }
    }
    for (int i = 0; i < ROWS; i++) {
      for (int q = 0; q < cols; q++) {
        float *place = c + i * ldc + j + q;
        float value = reduce_add(sum[i][q]);
        if (tile_end.accumulate) value += *place;
        if (tile_end.bias != nullptr) value += tile_end.bias[j + q];
        *place = tile_end.relu && value < 0.0f ? 0.0f : value;
      }
    }
  }
}

using DotsFn = void (*)(int64_t, int64_t, int64_t, const float *, int64_t, const float *, int64_t, float *, int64_t,
                        const TileEnd &);
constexpr DotsFn DOTS[] = {dots<1>, dots<2>, dots<3>, dots<4>};

// Measured: with more rows than this, packing b pays.
constexpr int64_t DOT_ROWS = W == 16 ? 24 : W == 8 ? 8 : 2;

}  // namespace

int gemm(int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c,
         int32_t accumulate, const float *bias, int32_t activation, int32_t pairs) {
  if (m < 0 || n < 0 || k < 0 || activation < 0 || activation > 1) return ES_BAD_ARGUMENT;
  if (m == 0 || n == 0) return ES_OK;
  Operands in = {trans_a != 0, trans_b != 0, a, trans_a ? m : k, b, trans_b ? k : n};
  TileEnd end = {accumulate != 0, bias, activation == 1};
  // In doubles: the product of three sizes may pass 2^63.
  double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k ? k : 1) / WORTH_A_THREAD;
  int threads = es_parallel_workers(work < 1 ? 1 : work > 65536 ? 65536 : static_cast<int>(work));

  if (m <= DOT_ROWS && !in.trans_a && in.trans_b && k > 0) {
    parallel_tasks(threads, [&](int task, int) {
      int64_t stop = n * (task + 1) / threads;
      for (int64_t j = n * task / threads; j < stop; j += DOT_COLS) {
        // These rows of b stay in the first cache while all groups of rows of a pass.
        int64_t upto = j + DOT_COLS < stop ? j + DOT_COLS : stop;
        for (int64_t i = 0; i < m; i += 4) {
          DOTS[m - i < 4 ? m - i - 1 : 3](j, upto, k, a + i * k, k, b, k, c + i * n, n, end);
        }
      }
    });
    return ES_OK;
  }

  const GemmFn on_a_thread = gemm_of(pairs != 0);
  int64_t strips = (m + MR - 1) / MR, panels = (n + NR - 1) / NR;
  Grid grid = choose_grid(strips, panels, threads);
  bool short_of_memory = false;
  parallel_tasks(grid.rows * grid.cols, [&](int task, int) {
    int row = task / grid.cols, col = task % grid.cols;
    int64_t i0 = strips * row / grid.rows * MR, i1 = strips * (row + 1) / grid.rows * MR;
    int64_t j0 = panels * col / grid.cols * NR, j1 = panels * (col + 1) / grid.cols * NR;
    if (i1 > m) i1 = m;
    if (j1 > n) j1 = n;
    float *scratch = es_scratch(ES_SLOT_GEMM, gemm_st_scratch(i1 - i0));
    if (scratch == nullptr) {
      short_of_memory = true;
      return;
    }
    Operands part = in;
    part.a += in.trans_a ? i0 : i0 * in.lda;
    part.b += in.trans_b ? j0 * in.ldb : j0;
    TileEnd part_end = end;
    if (bias != nullptr) part_end.bias = bias + j0;
    on_a_thread(part, i1 - i0, j1 - j0, k, c + i0 * n + j0, n, part_end, scratch);
  });
  return short_of_memory ? ES_NO_MEMORY : ES_OK;
}

}  // namespace ES_NS
