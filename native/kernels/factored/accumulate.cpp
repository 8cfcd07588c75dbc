// Sums kept in double while the products that enter them are in float. Every element is rounded as written here
// (no fused multiply-add), so that the slow twin has the same bits.
#include "../isa.h"

namespace ES_NS {
namespace {

constexpr int64_t TILE = 16;

}  // namespace

int accumulate(int64_t n, const float *x, double keep, double alpha, double *master, float *copy) {
  parallel_ranges(n, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      double sum = keep * master[i] + alpha * static_cast<double>(x[i]);
      master[i] = sum;
      copy[i] = static_cast<float>(sum);
    }
  });
  return ES_OK;
}

int accumulate_symmetric(int64_t n, const float *x, double keep, double alpha, double *master, float *copy) {
  parallel_ranges(n, n < 128 ? n + 1 : TILE, [&](int64_t begin, int64_t end) {
    for (int64_t i0 = begin; i0 < end; i0 += TILE) {
      int64_t rows = end - i0 < TILE ? end - i0 : TILE;
      for (int64_t j0 = 0; j0 < n; j0 += TILE) {
        int64_t cols = n - j0 < TILE ? n - j0 : TILE;
        float turned[TILE][TILE];
        for (int64_t j = 0; j < cols; j++) {
          for (int64_t i = 0; i < rows; i++) turned[i][j] = x[(j0 + j) * n + i0 + i];
        }
        for (int64_t i = 0; i < rows; i++) {
          const float *from = x + (i0 + i) * n + j0;
          double *sums = master + (i0 + i) * n + j0;
          float *rounded = copy + (i0 + i) * n + j0;
          for (int64_t j = 0; j < cols; j++) {
            double both = static_cast<double>(from[j]) + static_cast<double>(turned[i][j]);
            double sum = keep * sums[j] + alpha * both;
            sums[j] = sum;
            rounded[j] = static_cast<float>(sum);
          }
        }
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
