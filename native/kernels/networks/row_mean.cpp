#include "../isa.h"

namespace ES_NS {
namespace {

inline int64_t row_grain(int64_t cols) { return 1 + 32768 / (cols + 1); }

}  // namespace

int row_mean(int64_t rows, int64_t cols, const float *x, float *y) {
  parallel_ranges(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      D2 total = zero_d2();
      over_lanes(cols, [&](int64_t j, int n) { total = add_wide(total, get(x + i * cols + j, n)); });
      y[i] = cols == 0 ? 0.0f : static_cast<float>(reduce_add(total) / static_cast<double>(cols));
    }
  });
  return ES_OK;
}

int row_mean_backward(int64_t rows, int64_t cols, const float *dy, float *dx) {
  parallel_ranges(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      F share = set(static_cast<float>(static_cast<double>(dy[i]) / static_cast<double>(cols)));
      over_lanes(cols, [&](int64_t j, int n) { put(dx + i * cols + j, share, n); });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
