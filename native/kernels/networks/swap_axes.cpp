#include "../gemm/gemm_tile.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 32768;
constexpr int BLOCK = 8;

}  // namespace

int swap_axes(int64_t outer, int64_t a, int64_t b, int64_t inner, const float *x, float *y) {
  if (outer <= 0 || a <= 0 || b <= 0 || inner <= 0) return ES_OK;
  if (inner > 1) {
    // One task unit per run of outputs [outer, b, :]: a runs of `inner`.
    int64_t grain = 1 + GRAIN / (a * inner);
    parallel_ranges(outer * b, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const float *from = x + (r / b * a * b + r % b) * inner;
        float *to = y + r * a * inner;
        for (int64_t i = 0; i < a; i++, from += b * inner, to += inner) {
          if (inner >= 64) __builtin_memcpy(to, from, static_cast<size_t>(inner) * sizeof(float));
          else over_lanes(inner, [&](int64_t j, int n) { put(to + j, get(from + j, n), n); });
        }
      }
    });
    return ES_OK;
  }
  int64_t blocks = (a + BLOCK - 1) / BLOCK;
  parallel_ranges(outer * blocks, 1 + GRAIN / (BLOCK * b), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      int64_t i = r % blocks * BLOCK;
      const float *from = x + (r / blocks * a + i) * b;
      float *to = y + r / blocks * a * b + i;
      if (i + BLOCK <= a) {
        for (int64_t j = 0; j < b; j += 4096) {
          int64_t upto = b - j < 4096 ? b - j : 4096;
          transpose_rows<BLOCK>(BLOCK, static_cast<int>(upto), from + j, b, to + j * a, static_cast<int>(a));
        }
      } else {
        for (int64_t j = 0; j < b; j++)
          for (int64_t k = 0; k < a - i; k++) to[j * a + k] = from[k * b + j];
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
