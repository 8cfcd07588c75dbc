#include "geometry.h"

namespace ES_NS {
namespace {

// dw[co, k] is a dot product over images and positions, both sides contiguous: dy in rows as wide as the planes, zeros
// between them. Chunks of images are multiplied together, so that sums across the lanes are rare.
constexpr int64_t LONG_ENOUGH = 1024;  // positions of a chunk
constexpr int64_t MOST_PARTS = 8;
constexpr int64_t MOST_WORKSPACE = int64_t{1} << 23;
constexpr int DOT_ROWS = 4, DOT_TAPS = W == 16 ? 4 : 2;

struct Split {
  int64_t length;  // of a row of dy, whole registers
  int64_t images;  // of a chunk
  int64_t chunks, parts;
  int64_t sums;  // floats of one part: weights, then biases
};

// Depends on the shape alone, so that sums do not depend on the threads.
inline Split split_of(const Conv &conv) {
  Split split;
  split.length = (conv.positions() + W - 1) / W * W;
  split.images = (LONG_ENOUGH + split.length - 1) / split.length;
  if (split.images > conv.batch) split.images = conv.batch < 1 ? 1 : conv.batch;
  split.chunks = (conv.batch + split.images - 1) / split.images;
  split.sums = conv.out_channels * (conv.taps + 1);
  split.parts = split.chunks < MOST_PARTS ? split.chunks : MOST_PARTS;
  while (split.parts > 1 && split.parts * split.sums > MOST_WORKSPACE) split.parts--;
  if (split.parts < 1) split.parts = 1;
  return split;
}

template <int ROWS>
inline void dot_tile(int64_t images, int64_t length, const float *dy, int64_t dy_row, int64_t dy_image, const float *planes,
                     int64_t planes_image, const int32_t *offsets, int taps, float *to, int64_t to_row) {
  F sum[ROWS][DOT_TAPS];
  for (int i = 0; i < ROWS; i++)
    for (int q = 0; q < DOT_TAPS; q++) sum[i][q] = zero();
  int64_t at[DOT_TAPS];
  for (int q = 0; q < DOT_TAPS; q++) at[q] = offsets[q < taps ? q : taps - 1];
  for (int64_t n = 0; n < images; n++, dy += dy_image, planes += planes_image) {
    for (int64_t p = 0; p < length; p += W) {
      F left[ROWS];
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; i++) left[i] = load(dy + i * dy_row + p);
#pragma GCC unroll 4
      for (int q = 0; q < DOT_TAPS; q++) {
        F right = load(planes + at[q] + p);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) sum[i][q] = fma(left[i], right, sum[i][q]);
      }
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int q = 0; q < taps; q++) to[i * to_row + q] += reduce_add(sum[i][q]);
}

using DotTileFn = void (*)(int64_t, int64_t, const float *, int64_t, int64_t, const float *, int64_t, const int32_t *, int,
                           float *, int64_t);
constexpr DotTileFn DOT_TILES[] = {dot_tile<1>, dot_tile<2>, dot_tile<3>, dot_tile<4>};

// dy of one channel in rows of plane_width, zeros between and after them.
inline void spread_rows(const Conv &conv, int64_t length, const float *dy, float *to) {
  int64_t gap = conv.plane_width - conv.out_width;
  for (int64_t i = 0; i < conv.out_height; i++) {
    over_lanes(conv.out_width, [&](int64_t j, int n) { put(to + i * conv.plane_width + j, get(dy + i * conv.out_width + j, n), n); });
    if (i + 1 < conv.out_height)
      for (int64_t j = 0; j < gap; j++) to[i * conv.plane_width + conv.out_width + j] = 0.0f;
  }
  for (int64_t p = conv.positions(); p < length; p++) to[p] = 0.0f;
}

}  // namespace

int conv2d_workspace(ES_CONV_PARAMETERS, double *length) {
  Conv conv = ES_CONV_OF;
  if (!conv.sound()) return ES_BAD_ARGUMENT;
  conv.derive();
  Split split = split_of(conv);
  *length = static_cast<double>(split.parts * split.sums);
  return ES_OK;
}

int conv2d_backward_weight(ES_CONV_PARAMETERS, const float *x, const float *dy, float *dweight, float *dbias,
                           int32_t accumulate, float *workspace, int64_t workspace_length) {
  Conv conv = ES_CONV_OF;
  if (!conv.sound()) return ES_BAD_ARGUMENT;
  conv.derive();
  Split split = split_of(conv);
  if (workspace_length < split.parts * split.sums) return ES_BAD_ARGUMENT;
  auto *offsets = reinterpret_cast<int32_t *>(es_scratch(ES_SLOT_OUTPUT_2, conv.taps));
  if (offsets == nullptr) return ES_NO_MEMORY;
  tap_offsets(conv, offsets);
  int64_t planes_image = conv.planes(), dy_image = conv.out * split.length;
  bool short_of_memory = false;
  parallel_ranges(split.parts, 1, [&](int64_t begin, int64_t end) {
    // The last row of an image may be read beyond its end by less than a register.
    float *planes = es_scratch(ES_SLOT_OUTPUT_1, split.images * planes_image + W);
    float *rows = es_scratch(ES_SLOT_OUTPUT_3, split.images * dy_image);
    if (planes == nullptr || rows == nullptr) {
      short_of_memory = true;
      return;
    }
    for (int64_t part = begin; part < end; part++) {
      float *sums = workspace + part * split.sums, *bias_sums = sums + out_channels * conv.taps;
      __builtin_memset(sums, 0, static_cast<size_t>(split.sums) * sizeof(float));
      for (int64_t chunk = split.chunks * part / split.parts; chunk < split.chunks * (part + 1) / split.parts; chunk++) {
        int64_t first = chunk * split.images;
        int64_t images = batch - first < split.images ? batch - first : split.images;
        for (int v = 0; v < W; v++) planes[images * planes_image + v] = 0.0f;
        for (int64_t g = 0; g < groups; g++) {
          for (int64_t n = 0; n < images; n++) {
            copy_planes(conv, x + ((first + n) * in_channels + g * conv.in) * height * width, planes + n * planes_image);
            for (int64_t o = 0; o < conv.out; o++) {
              float *row = rows + n * dy_image + o * split.length;
              int64_t channel = g * conv.out + o;
              spread_rows(conv, split.length,
                          dy + ((first + n) * out_channels + channel) * conv.out_height * conv.out_width, row);
              F total = zero();
              for (int64_t p = 0; p < split.length; p += W) total = total + load(row + p);
              bias_sums[channel] += reduce_add(total);
            }
          }
          for (int64_t o = 0; o < conv.out; o += DOT_ROWS) {
            int64_t lines = conv.out - o < DOT_ROWS ? conv.out - o : DOT_ROWS;
            for (int64_t k = 0; k < conv.taps; k += DOT_TAPS) {
              int taps = conv.taps - k < DOT_TAPS ? static_cast<int>(conv.taps - k) : DOT_TAPS;
              DOT_TILES[lines - 1](images, split.length, rows + o * split.length, split.length, dy_image, planes,
                                   planes_image, offsets + k, taps, sums + (g * conv.out + o) * conv.taps + k, conv.taps);
            }
          }
        }
      }
    }
  });
  if (short_of_memory) return ES_NO_MEMORY;
  auto join = [&](int64_t n, const float *from, float *to) {
    parallel_ranges(n, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += W) {
        int count = end - i < W ? static_cast<int>(end - i) : W;
        F total = accumulate ? get(to + i, count) : zero();
        for (int64_t part = 0; part < split.parts; part++) total = total + get(from + part * split.sums + i, count);
        put(to + i, total, count);
      }
    });
  };
  join(out_channels * conv.taps, workspace, dweight);
  if (dbias != nullptr) join(out_channels, workspace + out_channels * conv.taps, dbias);
  return ES_OK;
}

}  // namespace ES_NS
