#include "../isa.h"

namespace ES_NS {

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
