// gemm_st: c[m,n] = end(op(a)[m,k] * op(b)[k,n]) on the calling thread, for use inside parallel regions.
// The order of additions depends on k only, so any split over m and n gives the same bits.
#pragma once

#include "gemm_tile.h"

namespace ES_NS {
namespace {

// Rows of op(a) packed at a time: MC * KC floats stay in the second cache.
constexpr int64_t MC = 384;
// Up to this many rows a panel of a straight b is read in place: packing would cost more than it brings.
constexpr int64_t UNPACKED_ROWS = 2 * MR;

struct Operands {
  bool trans_a, trans_b;
  const float *a;
  int64_t lda;
  const float *b;
  int64_t ldb;
};

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Floats of scratch that gemm_st needs.
inline int64_t gemm_st_scratch(int64_t m) {
  int64_t rows = round_up(m < MC ? m : MC, MR);
  return (rows + NR) * KC;
}

inline void gemm_end(int64_t m, int64_t n, float *c, int64_t ldc, const TileEnd &end) {
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j += W) {
      int count = n - j < W ? static_cast<int>(n - j) : W;
      finish(c + i * ldc + j, zero(), count, end, end.bias == nullptr ? nullptr : end.bias + j);
    }
  }
}

inline void gemm_st(const Operands &in, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc, const TileEnd &end,
                    float *scratch) {
  if (k == 0) return gemm_end(m, n, c, ldc, end);
  int64_t blocks = (k + KC - 1) / KC;
  // Equal blocks of k, so that none is left with a handful.
  int64_t depth = round_up((k + blocks - 1) / blocks, 8);
  float *panel_scratch = scratch;
  float *strips = scratch + static_cast<int64_t>(KC) * NR;
  for (int64_t k0 = 0; k0 < k; k0 += depth) {
    int kc = static_cast<int>(k - k0 < depth ? k - k0 : depth);
    bool first = k0 == 0, last = k0 + depth >= k;
    for (int64_t i0 = 0; i0 < m; i0 += MC) {
      int64_t mc = m - i0 < MC ? m - i0 : MC;
      for (int64_t i = 0; i < mc; i += MR) {
        int rows = mc - i < MR ? static_cast<int>(mc - i) : MR;
        float *strip = strips + i * kc;
        if (in.trans_a) pack_straight<MR>(rows, kc, in.a + k0 * in.lda + i0 + i, in.lda, strip);
        else pack_transposed<MR>(rows, kc, in.a + (i0 + i) * in.lda + k0, in.lda, strip);
      }
      for (int64_t j = 0; j < n; j += NR) {
        int cols = n - j < NR ? static_cast<int>(n - j) : NR;
        const float *panel = panel_scratch;
        int64_t step = NR;
        if (in.trans_b) {
          pack_transposed<NR>(cols, kc, in.b + j * in.ldb + k0, in.ldb, panel_scratch);
        } else if (cols < NR || m > UNPACKED_ROWS) {
          pack_straight<NR>(cols, kc, in.b + k0 * in.ldb + j, in.ldb, panel_scratch);
        } else {
          panel = in.b + k0 * in.ldb + j;
          step = in.ldb;
        }
        TileEnd tile_end = {end.accumulate || !first, first && end.bias != nullptr ? end.bias + j : nullptr,
                            end.relu && last};
        for (int64_t i = 0; i < mc; i += MR) {
          int rows = mc - i < MR ? static_cast<int>(mc - i) : MR;
          tile_of(rows)(kc, strips + i * kc, panel, step, c + (i0 + i) * ldc + j, ldc, cols, tile_end);
        }
      }
    }
  }
}

// The plain product: c = op(a) op(b), or += with `accumulate`. scratch: gemm_st_scratch(m) floats.
inline void gemm_st(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                    const float *b, int64_t ldb, float *c, int64_t ldc, bool accumulate, float *scratch) {
  gemm_st({trans_a, trans_b, a, lda, b, ldb}, m, n, k, c, ldc, {accumulate, nullptr, false}, scratch);
}

}  // namespace
}  // namespace ES_NS
