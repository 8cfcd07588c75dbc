#include "geometry.h"

namespace ES_NS {

int conv2d(ES_CONV_PARAMETERS, const float *x, const float *weight, const float *bias, int32_t activation, float *y) {
  Conv conv = ES_CONV_OF;
  if (!conv.sound() || activation < 0 || activation > 1) return ES_BAD_ARGUMENT;
  conv.derive();
  int64_t rows = strips_of(conv.out);
  float *packed = es_scratch(ES_SLOT_OUTPUT_0, groups * rows * conv.taps + 16);
  auto *offsets = reinterpret_cast<int32_t *>(es_scratch(ES_SLOT_OUTPUT_2, conv.taps));
  if (packed == nullptr || offsets == nullptr) return ES_NO_MEMORY;
  tap_offsets(conv, offsets);
  for (int64_t g = 0; g < groups; g++)
    for (int64_t i = 0; i < conv.out; i += MR) {
      int count = conv.out - i < MR ? static_cast<int>(conv.out - i) : MR;
      pack_transposed<MR>(count, static_cast<int>(conv.taps), weight + (g * conv.out + i) * conv.taps, conv.taps,
                          packed + (g * rows + i) * conv.taps);
    }
  // Few images: their channels are shared out too.
  int64_t blocks = batch < 16 && conv.out > MR ? 2 : 1;
  int64_t block = strips_of((conv.out + blocks - 1) / blocks);
  int64_t units = batch * groups * blocks;
  double work = static_cast<double>(block) * static_cast<double>(conv.taps) * static_cast<double>(conv.positions());
  bool short_of_memory = false;
  parallel_ranges(units, unit_grain(work), [&](int64_t begin, int64_t end) {
    float *planes = es_scratch(ES_SLOT_OUTPUT_1, conv.planes() + NR);
    if (planes == nullptr) {
      short_of_memory = true;
      return;
    }
    for (int v = 0; v < NR; v++) planes[conv.planes() + v] = 0.0f;
    int64_t held = -1;
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t image = unit / (groups * blocks), g = unit / blocks % groups, first = unit % blocks * block;
      int64_t count = conv.out - first < block ? conv.out - first : block;
      if (count <= 0) continue;
      if (held != unit / blocks) {
        copy_planes(conv, x + (image * in_channels + g * conv.in) * height * width, planes);
        held = unit / blocks;
      }
      int64_t channel = g * conv.out + first;
      float *to = y + (image * out_channels + channel) * conv.out_height * conv.out_width;
      product_of_runs(
          count, conv.taps, conv.positions(), packed + (g * rows + first) * conv.taps, planes, offsets,
          [&](int64_t i, int lines, int64_t p, int64_t wide, const float *tile) {
            over_runs(p, wide, conv.plane_width, conv.out_width, [&](int64_t row, int64_t col, int64_t at, int64_t length) {
              for (int line = 0; line < lines; line++) {
                float *out = to + ((i + line) * conv.out_height + row) * conv.out_width + col;
                F add = set(bias == nullptr ? 0.0f : bias[channel + i + line]);
                const float *from = tile + line * NR + at;
                if (activation == 1) {
                  over_lanes(length, [&](int64_t j, int n) { put(out + j, max_of(zero(), get(from + j, n) + add), n); });
                } else {
                  over_lanes(length, [&](int64_t j, int n) { put(out + j, get(from + j, n) + add, n); });
                }
              }
            });
          });
    }
  });
  return short_of_memory ? ES_NO_MEMORY : ES_OK;
}

}  // namespace ES_NS
