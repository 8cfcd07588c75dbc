#include "../isa.h"

namespace ES_NS {
namespace {

struct Pool {
  int64_t planes, height, width, kernel, stride, padding;
  int64_t out_height, out_width;

  bool sound() {
    // A window must hold a number: padding is at most half of it.
    if (planes < 0 || height <= 0 || width <= 0 || kernel <= 0 || stride <= 0 || padding < 0 || 2 * padding > kernel) return false;
    if (kernel > 255 || height + 2 * padding < kernel || width + 2 * padding < kernel) return false;
    out_height = (height + 2 * padding - kernel) / stride + 1;
    out_width = (width + 2 * padding - kernel) / stride + 1;
    return true;
  }
  int64_t grain() const { return 1 + 32768 / (height * width); }
  int64_t outputs() const { return out_height * out_width; }
};

// body(first, last) of the part of a window that lies inside: rows or columns from out * stride - padding.
inline int64_t window_begin(const Pool &pool, int64_t at) {
  int64_t begin = at * pool.stride - pool.padding;
  return begin < 0 ? 0 : begin;
}
inline int64_t window_end(const Pool &pool, int64_t at, int64_t size) {
  int64_t end = at * pool.stride - pool.padding + pool.kernel;
  return end > size ? size : end;
}

}  // namespace

int max_pool(ES_POOL_PARAMETERS, const float *x, float *y, uint16_t *places) {
  Pool pool = {planes, height, width, kernel, stride, padding, 0, 0};
  if (!pool.sound()) return ES_BAD_ARGUMENT;
  parallel_ranges(planes, pool.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float *from = x + plane * height * width;
      float *to = y + plane * pool.outputs();
      uint16_t *place = places + plane * pool.outputs();
      for (int64_t i = 0; i < pool.out_height; i++) {
        if (kernel == 2 && stride == 2 && padding == 0) {
          const float *top = from + 2 * i * width, *bottom = top + width;
          for (int64_t j = 0; j < pool.out_width; j++, to++, place++) {
            float best = top[2 * j];
            int at = 0;
            if (!(top[2 * j + 1] <= best)) best = top[2 * j + 1], at = 1;
            if (!(bottom[2 * j] <= best) && best == best) best = bottom[2 * j], at = 2;
            if (!(bottom[2 * j + 1] <= best) && best == best) best = bottom[2 * j + 1], at = 3;
            *to = best;
            *place = static_cast<uint16_t>(at);
          }
          continue;
        }
        int64_t r0 = window_begin(pool, i), r1 = window_end(pool, i, height);
        for (int64_t j = 0; j < pool.out_width; j++, to++, place++) {
          int64_t c0 = window_begin(pool, j), c1 = window_end(pool, j, width);
          int64_t row0 = i * stride - padding, col0 = j * stride - padding;
          float best = from[r0 * width + c0];
          int64_t at = (r0 - row0) * kernel + c0 - col0;
          for (int64_t r = r0; r < r1; r++)
            for (int64_t c = c0; c < c1; c++) {
              float value = from[r * width + c];
              // The first of the largest; a NaN wins, and stays.
              if (best == best && !(value <= best)) {
                best = value;
                at = (r - row0) * kernel + c - col0;
              }
            }
          *to = best;
          *place = static_cast<uint16_t>(at);
        }
      }
    }
  });
  return ES_OK;
}

int max_pool_backward(ES_POOL_PARAMETERS, const float *dy, const uint16_t *places, float *dx) {
  Pool pool = {planes, height, width, kernel, stride, padding, 0, 0};
  if (!pool.sound()) return ES_BAD_ARGUMENT;
  for (int64_t i = 0; i < planes * pool.outputs(); i++)
    if (places[i] >= kernel * kernel) return ES_INDEX_RANGE;
  bool outside = false;
  parallel_ranges(planes, pool.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      float *to = dx + plane * height * width;
      const float *from = dy + plane * pool.outputs();
      const uint16_t *place = places + plane * pool.outputs();
      __builtin_memset(to, 0, static_cast<size_t>(height * width) * sizeof(float));
      if (kernel == 2 && stride == 2 && padding == 0) {
        for (int64_t i = 0; i < pool.out_height; i++)
          for (int64_t j = 0; j < pool.out_width; j++, from++, place++)
            to[(2 * i + (*place >> 1)) * width + 2 * j + (*place & 1)] = *from;
        continue;
      }
      for (int64_t i = 0; i < pool.out_height; i++)
        for (int64_t j = 0; j < pool.out_width; j++, from++, place++) {
          int64_t r = i * stride - padding + *place / kernel, c = j * stride - padding + *place % kernel;
          if (r < 0 || r >= height || c < 0 || c >= width) {
            outside = true;
            continue;
          }
          to[r * width + c] += *from;
        }
    }
  });
  return outside ? ES_INDEX_RANGE : ES_OK;
}

int avg_pool(ES_POOL_PARAMETERS, const float *x, float *y) {
  Pool pool = {planes, height, width, kernel, stride, padding, 0, 0};
  if (!pool.sound()) return ES_BAD_ARGUMENT;
  float share = static_cast<float>(1.0 / static_cast<double>(kernel * kernel));
  parallel_ranges(planes, pool.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float *from = x + plane * height * width;
      float *to = y + plane * pool.outputs();
      for (int64_t i = 0; i < pool.out_height; i++) {
        int64_t r0 = window_begin(pool, i), r1 = window_end(pool, i, height);
        for (int64_t j = 0; j < pool.out_width; j++, to++) {
          int64_t c0 = window_begin(pool, j), c1 = window_end(pool, j, width);
          float total = 0.0f;
          for (int64_t r = r0; r < r1; r++)
            for (int64_t c = c0; c < c1; c++) total += from[r * width + c];
          *to = share * total;
        }
      }
    }
  });
  return ES_OK;
}

int avg_pool_backward(ES_POOL_PARAMETERS, const float *dy, float *dx) {
  Pool pool = {planes, height, width, kernel, stride, padding, 0, 0};
  if (!pool.sound()) return ES_BAD_ARGUMENT;
  float share = static_cast<float>(1.0 / static_cast<double>(kernel * kernel));
  parallel_ranges(planes, pool.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      float *to = dx + plane * height * width;
      const float *from = dy + plane * pool.outputs();
      __builtin_memset(to, 0, static_cast<size_t>(height * width) * sizeof(float));
      for (int64_t i = 0; i < pool.out_height; i++) {
        int64_t r0 = window_begin(pool, i), r1 = window_end(pool, i, height);
        for (int64_t j = 0; j < pool.out_width; j++, from++) {
          int64_t c0 = window_begin(pool, j), c1 = window_end(pool, j, width);
          float part = share * *from;
          for (int64_t r = r0; r < r1; r++)
            for (int64_t c = c0; c < c1; c++) to[r * width + c] += part;
        }
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
