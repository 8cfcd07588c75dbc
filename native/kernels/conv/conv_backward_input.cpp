#include "geometry.h"

namespace ES_NS {
namespace {

// The inputs with padded row stride * a + phase: rows a in [first, first + count), each the sum over `taps` of
// dy[a - q], q in [0, taps).
struct Phase {
  int64_t phase, first, count, taps;
};

inline Phase phase_of(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  int64_t low = padding - phase, high = padding + size - 1 - phase;
  int64_t first = low <= 0 ? 0 : (low + stride - 1) / stride;
  int64_t last = high < 0 ? -1 : high / stride;
  return {phase, first, last < first ? 0 : last - first + 1, phase < kernel ? (kernel - phase + stride - 1) / stride : 0};
}

}  // namespace

int conv2d_backward_input(ES_CONV_PARAMETERS, const float *weight, const float *dy, float *dx, int32_t accumulate) {
  Conv conv = ES_CONV_OF;
  if (!conv.sound()) return ES_BAD_ARGUMENT;
  conv.derive();
  // dy with as many zeros before it as the longest sum looks back.
  int64_t top = (kernel_height - 1) / stride, left = (kernel_width - 1) / stride;
  int64_t high = top + (padding + height - 1) / stride + 1, wide = left + (padding + width - 1) / stride + 1;
  int64_t planes_length = conv.out * high * wide;
  if (planes_length > MOST_ELEMENTS) return ES_BAD_ARGUMENT;
  int64_t rows = strips_of(conv.in);
  int64_t all_taps = conv.out * kernel_height * kernel_width;
  float *packed = es_scratch(ES_SLOT_OUTPUT_0, groups * rows * all_taps + 16);
  auto *offsets = reinterpret_cast<int32_t *>(es_scratch(ES_SLOT_OUTPUT_2, all_taps + 1));
  if (packed == nullptr || offsets == nullptr) return ES_NO_MEMORY;
  // Strips and offsets of one phase after the other; within a phase, group after group.
  {
    float *strip = packed;
    int32_t *offset = offsets;
    for (int64_t i = 0; i < stride; i++)
      for (int64_t j = 0; j < stride; j++) {
        Phase down = phase_of(i, height, kernel_height, stride, padding);
        Phase across = phase_of(j, width, kernel_width, stride, padding);
        for (int64_t o = 0; o < conv.out; o++)
          for (int64_t a = 0; a < down.taps; a++)
            for (int64_t b = 0; b < across.taps; b++)
              *offset++ = static_cast<int32_t>((o * high + down.first - a + top) * wide + across.first - b + left);
        for (int64_t g = 0; g < groups; g++)
          for (int64_t r = 0; r < rows; r += MR)
            for (int64_t o = 0; o < conv.out; o++)
              for (int64_t a = 0; a < down.taps; a++)
                for (int64_t b = 0; b < across.taps; b++)
                  for (int64_t lane = 0; lane < MR; lane++) {
                    int64_t c = r + lane < conv.in ? r + lane : conv.in - 1;
                    int64_t tap = (i + a * stride) * kernel_width + j + b * stride;
                    *strip++ = weight[(g * conv.out + o) * conv.taps + c * kernel_height * kernel_width + tap];
                  }
      }
  }
  double work = static_cast<double>(rows) * static_cast<double>(all_taps) * static_cast<double>(height * width);
  bool short_of_memory = false;
  parallel_ranges(batch * groups, unit_grain(work), [&](int64_t begin, int64_t end) {
    float *planes = es_scratch(ES_SLOT_OUTPUT_1, planes_length + NR);
    if (planes == nullptr) {
      short_of_memory = true;
      return;
    }
    for (int v = 0; v < NR; v++) planes[planes_length + v] = 0.0f;
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t g = unit % groups;
      const float *from = dy + unit * conv.out * conv.out_height * conv.out_width;
      for (int64_t o = 0; o < conv.out; o++)
        copy_plane(from + o * conv.out_height * conv.out_width, conv.out_height, conv.out_width, -top, -left, 1, high, wide,
                   planes + o * high * wide);
      float *to = dx + unit * conv.in * height * width;
      const float *strips = packed;
      const int32_t *offset = offsets;
      for (int64_t i = 0; i < stride; i++)
        for (int64_t j = 0; j < stride; j++) {
          Phase down = phase_of(i, height, kernel_height, stride, padding);
          Phase across = phase_of(j, width, kernel_width, stride, padding);
          int64_t taps = conv.out * down.taps * across.taps;
          int64_t positions = down.count == 0 || across.count == 0 ? 0 : (down.count - 1) * wide + across.count;
          product_of_runs(
              conv.in, taps, positions, strips + g * rows * taps, planes, offset,
              [&](int64_t c, int lines, int64_t p, int64_t many, const float *tile) {
                over_runs(p, many, wide, across.count, [&](int64_t row, int64_t col, int64_t at, int64_t length) {
                  int64_t y0 = stride * (down.first + row) + i - padding;
                  int64_t x0 = stride * (across.first + col) + j - padding;
                  for (int line = 0; line < lines; line++) {
                    float *out = to + ((c + line) * height + y0) * width + x0;
                    const float *in = tile + line * NR + at;
                    if (stride != 1) {
                      for (int64_t q = 0; q < length; q++) out[q * stride] = accumulate ? out[q * stride] + in[q] : in[q];
                    } else if (accumulate) {
                      over_lanes(length, [&](int64_t q, int n) { put(out + q, get(out + q, n) + get(in + q, n), n); });
                    } else {
                      over_lanes(length, [&](int64_t q, int n) { put(out + q, get(in + q, n), n); });
                    }
                  }
                });
              });
          strips += groups * rows * taps;
          offset += taps;
        }
    }
  });
  return short_of_memory ? ES_NO_MEMORY : ES_OK;
}

}  // namespace ES_NS
