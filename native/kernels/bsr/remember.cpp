// Other small copies of activations, and what backward makes of them.
#include "../bf16.h"
#include "blocks.h"

namespace ES_NS {

// Threads share the block columns, so that the order of a sum never depends on them.
int bsr_column_dots(int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
                    const uint32_t *columns, const uint32_t *row_pointers, const float *dy, float *out,
                    int32_t accumulate) {
  const Blocks x = {rows, cols, block, entries, values, columns, row_pointers};
  const int code = check_blocks(x);
  if (code != ES_OK) return code;
  const int64_t block_cols = x.block_cols();
  parallel_ranges(block_cols, rows * cols < 65536 ? block_cols + 1 : 1, [&](int64_t begin, int64_t end) {
    if (!accumulate) {
      for (int64_t j = begin * block; j < smaller(end * block, cols); j++) out[j] = 0.0f;
    }
    for (int64_t r = 0; r < x.block_rows(); r++) {
      const int64_t height = smaller(block, rows - r * block);
      for (int64_t e = row_pointers[r]; e < row_pointers[r + 1]; e++) {
        const int64_t c = columns[e];
        if (c < begin || c >= end) continue;
        const int64_t width = smaller(block, cols - c * block);
        const float *held = values + e * block * block;
        const float *other = dy + r * block * cols + c * block;
        over_lanes(width, [&](int64_t j, int count) {
          F sum = zero();
          for (int64_t i = 0; i < height; i++) sum = fma(get(held + i * block + j, count), get(other + i * cols + j, count), sum);
          float *place = out + c * block + j;
          put(place, get(place, count) + sum, count);
        });
      }
    }
  });
  return ES_OK;
}

int pool_rows(int64_t rows, int64_t cols, int64_t size, int32_t mean, const float *x, float *out) {
  if (rows < 0 || cols < 0 || size < 1) return ES_BAD_ARGUMENT;
  parallel_ranges((rows + size - 1) / size, 16, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; g++) {
      const int64_t count = smaller(size, rows - g * size);
      const float *group = x + g * size * cols;
      const F share = set(mean ? 1.0f / static_cast<float>(count) : 1.0f);
      over_lanes(cols, [&](int64_t j, int lanes) {
        F sum = get(group + j, lanes);
        for (int64_t i = 1; i < count; i++) sum = sum + get(group + i * cols + j, lanes);
        put(out + g * cols + j, mean ? sum * share : sum, lanes);
      });
    }
  });
  return ES_OK;
}

int sign_mask(int64_t n, const float *y, uint32_t *mask) {
  parallel_ranges((n + 31) / 32, 2048, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; w++) {
      const int count = static_cast<int>(smaller(32, n - w * 32));
      uint32_t bits = 0;
      for (int i = 0; i < count; i++) bits |= (y[w * 32 + i] > 0.0f ? 1u : 0u) << i;
      mask[w] = bits;
    }
  });
  return ES_OK;
}

int mask_backward(int64_t n, const uint32_t *mask, const float *dy, float *dx) {
  parallel_ranges((n + 31) / 32, 2048, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; w++) {
      const int count = static_cast<int>(smaller(32, n - w * 32));
      const uint32_t bits = mask[w];
      for (int i = 0; i < count; i++) dx[w * 32 + i] = bits >> i & 1u ? dy[w * 32 + i] : 0.0f;
    }
  });
  return ES_OK;
}

int bf16_round(int64_t n, const float *x, uint16_t *y) {
  parallel_ranges(n, 16384, [=](int64_t begin, int64_t end) { round_nearest(end - begin, x + begin, y + begin); });
  return ES_OK;
}

int bf16_widen(int64_t n, const uint16_t *x, float *y) {
  parallel_ranges(n, 16384, [=](int64_t begin, int64_t end) { widen(end - begin, x + begin, y + begin); });
  return ES_OK;
}

}  // namespace ES_NS
