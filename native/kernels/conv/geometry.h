// Convolutions without im2col. An image is copied once into planes with its padding, one plane per phase of the
// stride; every tap of the kernel then reads its inputs of neighbouring outputs as one contiguous run. Outputs are
// numbered over rows as wide as the planes: the few numbers between the rows are computed and never stored.
#pragma once

#include "../gemm/gemm_tile.h"

namespace ES_NS {
namespace {

constexpr int64_t MOST_ELEMENTS = int64_t{1} << 30;

struct Conv {
  int64_t batch, in_channels, height, width, out_channels, kernel_height, kernel_width, stride, padding, groups;
  int64_t out_height, out_width;
  // Channels of one group.
  int64_t in, out;
  // Products of one output.
  int64_t taps;
  // Phases of the stride that some tap reads, and the size of a plane.
  int64_t phases_down, phases_across, plane_height, plane_width;

  bool sound() const {
    if (batch < 0 || in_channels <= 0 || out_channels <= 0 || height <= 0 || width <= 0 || kernel_height <= 0 ||
        kernel_width <= 0 || stride <= 0 || padding < 0 || groups <= 0)
      return false;
    if (in_channels % groups != 0 || out_channels % groups != 0) return false;
    if (padding > MOST_ELEMENTS || height + 2 * padding < kernel_height || width + 2 * padding < kernel_width) return false;
    return static_cast<double>(in_channels) * static_cast<double>(height + 2 * padding + stride) *
               static_cast<double>(width + 2 * padding + stride) <
           static_cast<double>(MOST_ELEMENTS);
  }

  void derive() {
    out_height = (height + 2 * padding - kernel_height) / stride + 1;
    out_width = (width + 2 * padding - kernel_width) / stride + 1;
    in = in_channels / groups;
    out = out_channels / groups;
    taps = in * kernel_height * kernel_width;
    phases_down = stride < kernel_height ? stride : kernel_height;
    phases_across = stride < kernel_width ? stride : kernel_width;
    plane_height = out_height + (kernel_height - 1) / stride;
    plane_width = out_width + (kernel_width - 1) / stride;
  }

  int64_t plane() const { return plane_height * plane_width; }
  // Floats of the planes of one image and group, without the slack that the last run may read.
  int64_t planes() const { return in * phases_down * phases_across * plane(); }
  // Outputs as they are numbered: rows of plane_width.
  int64_t positions() const { return (out_height - 1) * plane_width + out_width; }
};

#define ES_CONV_OF                                                                                                  \
  {batch, in_channels, height, width, out_channels, kernel_height, kernel_width, stride, padding, groups, 0, 0, 0, 0, \
   0,     0,           0,      0,     0}

// One plane: rows and columns first, first + stride, ... of a channel, zeros beyond its edges.
inline void copy_plane(const float *x, int64_t height, int64_t width, int64_t row0, int64_t col0, int64_t stride,
                       int64_t rows, int64_t cols, float *to) {
  for (int64_t i = 0; i < rows; i++, to += cols) {
    int64_t row = row0 + i * stride;
    if (row < 0 || row >= height) {
      __builtin_memset(to, 0, static_cast<size_t>(cols) * sizeof(float));
      continue;
    }
    const float *from = x + row * width;
    if (stride == 1) {
      int64_t left = col0 < 0 ? -col0 : 0;
      if (left > cols) left = cols;
      int64_t end = width - col0 < cols ? width - col0 : cols;
      if (end < left) end = left;
      for (int64_t j = 0; j < left; j++) to[j] = 0.0f;
      over_lanes(end - left, [&](int64_t j, int n) { put(to + left + j, get(from + col0 + left + j, n), n); });
      for (int64_t j = end; j < cols; j++) to[j] = 0.0f;
      continue;
    }
    for (int64_t j = 0; j < cols; j++) {
      int64_t col = col0 + j * stride;
      to[j] = col < 0 || col >= width ? 0.0f : from[col];
    }
  }
}

// The planes of the channels of one group of one image: [in][phases_down][phases_across][plane].
inline void copy_planes(const Conv &conv, const float *x, float *to) {
  for (int64_t c = 0; c < conv.in; c++, x += conv.height * conv.width)
    for (int64_t i = 0; i < conv.phases_down; i++)
      for (int64_t j = 0; j < conv.phases_across; j++, to += conv.plane())
        copy_plane(x, conv.height, conv.width, i - conv.padding, j - conv.padding, conv.stride, conv.plane_height,
                   conv.plane_width, to);
}

// Where tap k = (channel, row, column) of output 0 lies in the planes.
inline void tap_offsets(const Conv &conv, int32_t *offsets) {
  for (int64_t c = 0; c < conv.in; c++)
    for (int64_t i = 0; i < conv.kernel_height; i++)
      for (int64_t j = 0; j < conv.kernel_width; j++) {
        int64_t phase = (c * conv.phases_down + i % conv.stride) * conv.phases_across + j % conv.stride;
        *offsets++ = static_cast<int32_t>(phase * conv.plane() + i / conv.stride * conv.plane_width + j / conv.stride);
      }
}

// to[ROWS, NR] = strip[taps, ROWS] * the runs of NR floats at base + offsets[k].
template <int ROWS>
inline void run_tile(int64_t taps, const float *strip, const float *base, const int32_t *offsets, float *to) {
  F sum[ROWS][NV];
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = zero();
  for (int64_t k = 0; k < taps; k++) {
    const float *run = base + offsets[k];
    F b[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) b[v] = load(run + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      F a = set(strip[i]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) sum[i][v] = fma(a, b[v], sum[i][v]);
    }
    strip += MR;
  }
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < NV; v++) store(to + i * NR + v * W, sum[i][v]);
}

using RunTileFn = void (*)(int64_t, const float *, const float *, const int32_t *, float *);

inline RunTileFn run_tile_of(int rows) {
  static constexpr RunTileFn fns[] = {
      run_tile<1>, run_tile<2>, run_tile<3>, run_tile<4>,
#if defined(__AVX512F__)
      run_tile<5>, run_tile<6>, run_tile<7>, run_tile<8>,
#endif
  };
  return fns[rows - 1];
}

// One product over all positions of one image: strips of `rows` channels against the runs at `offsets`.
// store(first row, rows, first position, positions, tile) sees every tile once.
template <class Store>
inline void product_of_runs(int64_t rows, int64_t taps, int64_t positions, const float *strips, const float *planes,
                            const int32_t *offsets, const Store &store_tile) {
  alignas(64) float tile[MR * NR];
  for (int64_t i = 0; i < rows; i += MR, strips += MR * taps) {
    int count = rows - i < MR ? static_cast<int>(rows - i) : MR;
    RunTileFn fn = run_tile_of(count);
    for (int64_t p = 0; p < positions; p += NR) {
      fn(taps, strips, planes + p, offsets, tile);
      store_tile(i, count, p, positions - p < NR ? positions - p : NR, tile);
    }
  }
}

// body(row, column, offset in the tile, length) for every run of numbers that are outputs among the positions
// [p, p + count) of rows `pitch` wide, of which `cols` are outputs.
template <class Body>
inline void over_runs(int64_t p, int64_t count, int64_t pitch, int64_t cols, const Body &body) {
  int64_t row = p / pitch, col = p % pitch;
  for (int64_t at = 0; at < count;) {
    int64_t left = count - at;
    if (col < cols) {
      int64_t length = cols - col < left ? cols - col : left;
      body(row, col, at, length);
    }
    at += pitch - col;
    row++;
    col = 0;
  }
}

inline int64_t strips_of(int64_t rows) { return (rows + MR - 1) / MR * MR; }

// How many of the units are worth a thread together, by the multiply-adds of one.
inline int64_t unit_grain(double work) {
  double grain = 262144.0 / (work < 1 ? 1 : work);
  return grain < 1 ? 1 : static_cast<int64_t>(grain);
}

}  // namespace
}  // namespace ES_NS
