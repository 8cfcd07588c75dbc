// The screen: a copy of a fixed fan-in layer in bytes, from which an upper bound of every logit of a row is had at a
// fraction of the time that the logit takes. Only labels whose bound could still be among the best are then computed, so
// that answers are those without a screen, to the bit.
//
// With w = s q + dw, |dw| <= s/2 (q: whole numbers of -127..127 per connection, s per label) and h = t u + lo + dh,
// |dh| <= e (u: 0..255, t, lo and e per row):
//   sum w h  <=  s t sum(q u) + lo s sum(q) + e sum|w| + (s/2) H,    H: the sum of the F largest |t u + lo|
// and what float32 rounds off on either side is added on top.
//
// One record for 16 labels, labels across lanes, all unaligned:
//   scale [16], s sum(q) [16], base [16], size [16] (floats), bits of columns above the seventh as masks of 64
//   [steps][planes], then for every 4 connections: columns below 128 [16 x 4], q [16 x 4].
#pragma once

#include <stddef.h>

#include "block.h"

#if defined(__AVX512BW__) && defined(__x86_64__)
#include <immintrin.h>
#define ES_SCREENS 1
#endif

namespace ES_NS {
namespace {

constexpr int64_t SCREEN_LANES = 16, SCREEN_HEAD = 4 * SCREEN_LANES * 4, MOST_PLANES = 3;
// Rows at once: beyond, the logits of a whole batch cost less. One register of rows sums in the order of a single one.
constexpr int64_t MOST_SCREENED = 8;

struct ScreenShape {
  int64_t inputs, labels, fan_in, steps, planes = 0, low_at, record;

  ScreenShape(int64_t d, int64_t l, int64_t f) : inputs(d), labels(l), fan_in(f), steps((f + 3) / 4) {
    while ((int64_t{128} << planes) < d) planes++;
    low_at = SCREEN_HEAD + round_up(8 * steps * planes, 64);
    record = low_at + 128 * steps;
  }
  // Byte permutations look up 128 columns at a time; sums of 2^15 products of bytes stay far below 2^31.
  bool applies() const { return planes <= MOST_PLANES && fan_in <= 32'768; }
  int64_t blocks() const { return (labels + SCREEN_LANES - 1) / SCREEN_LANES; }
  // What sums of fan_in products may be off, relative to the sum of their magnitudes, four times over.
  float rounding() const { return 4.0f * static_cast<float>(fan_in + 16) * 0x1p-23f; }
};

inline bool finite(float x) { return x - x == 0.0f; }
inline float magnitude(float x) { return x < 0.0f ? -x : x; }

// Labels [16 block, ...) of the layer into their record. Columns must be below `inputs`.
template <class Column, class Weight>
void screen_block(const ScreenShape &shape, int64_t block, const Column *columns, const Weight *weights, const float *bias,
                  uint8_t *record) {
  __builtin_memset(record, 0, static_cast<size_t>(shape.record));
  float head[4][SCREEN_LANES] = {};
  for (int64_t lane = 0; lane < SCREEN_LANES; lane++) {
    const int64_t l = block * SCREEN_LANES + lane;
    if (l >= shape.labels) break;
    const Column *c = columns + l * shape.fan_in;
    const Weight *w = weights + l * shape.fan_in;
    float most = 0.0f, size = 0.0f;
    bool sound = finite(bias[l]);
    for (int64_t k = 0; k < shape.fan_in; k++) {
      const float a = magnitude(number(w[k]));
      sound = sound && finite(a);
      most = a > most ? a : most;
      size += a;
    }
    // Nothing is known of such a label: it is always computed.
    head[2][lane] = sound && finite(size) ? bias[l] + magnitude(bias[l]) * shape.rounding() : __builtin_inff();
    const float scale = most / 127.0f;
    if (!sound || !finite(size) || !(scale >= 0x1p-100f)) {
      if (most > 0.0f) head[2][lane] = __builtin_inff();
      continue;
    }
    int32_t sum = 0;
    const float inverse = 1.0f / scale;
    for (int64_t k = 0; k < shape.fan_in; k++) {
      // Rounded by an addition that leaves no room for fractions: -127..127.
      const float x = number(w[k]) * inverse + 0x1.8p23f;
      int32_t q;
      __builtin_memcpy(&q, &x, 4);
      q -= 0x4B400000;
      sum += q;
      const int64_t step = k / 4, byte = lane * 4 + k % 4;
      uint8_t *low = record + shape.low_at + 128 * step;
      low[byte] = static_cast<uint8_t>(c[k] & 127);
      low[64 + byte] = static_cast<uint8_t>(static_cast<int8_t>(q));
      uint8_t *plane = record + SCREEN_HEAD + 8 * step * shape.planes + byte / 8;
      for (int64_t p = 0; p < shape.planes; p++) {
        plane[8 * p] = static_cast<uint8_t>(plane[8 * p] | (c[k] >> (7 + p) & 1) << byte % 8);
      }
    }
    head[0][lane] = scale;
    head[1][lane] = scale * static_cast<float>(sum);
    head[3][lane] = size + static_cast<float>(shape.fan_in) * scale;
  }
  __builtin_memcpy(record, head, sizeof head);
}

// One row of h in bytes. U = scale (step sum(q u) + per_scale) + low s_sum(q) + base + size per_size.
struct ScreenedRow {
  uint8_t bytes[128 << MOST_PLANES];
  float step, low, per_scale, per_size;
};

// False where the row has numbers that nothing can be said of.
inline bool screen_row(const ScreenShape &shape, const float *h, ScreenedRow &row) {
  float low = 0.0f, high = 0.0f;
  for (int64_t j = 0; j < shape.inputs; j++) {
    if (!finite(h[j])) return false;
    low = h[j] < low ? h[j] : low;
    high = h[j] > high ? h[j] : high;
  }
  const float range = high - low;
  if (!finite(range) || (range > 0.0f && range < 0x1p-100f)) return false;
  row.low = low;
  row.step = range / 255.0f;
  __builtin_memset(row.bytes, 0, sizeof row.bytes);
  const float largest = high > -low ? high : -low;
  float error = 0.0f;
  // How many inputs have a magnitude in each 256th of the largest.
  int32_t among[256] = {};
  for (int64_t j = 0; j < shape.inputs; j++) {
    const float x = range > 0.0f ? (h[j] - low) / row.step + 0.5f : 0.0f;
    const int32_t u = x > 255.0f ? 255 : static_cast<int32_t>(x);
    row.bytes[j] = static_cast<uint8_t>(u);
    const float near = row.step * static_cast<float>(u) + low;
    const float off = magnitude(h[j] - near);
    error = off > error ? off : error;
    const int32_t bin = largest > 0.0f ? static_cast<int32_t>(255.0f * (magnitude(near) / largest)) : 0;
    among[bin > 255 ? 255 : bin]++;
  }
  float top = 0.0f;
  int64_t left = shape.fan_in;
  for (int bin = 255; bin >= 0 && left > 0; bin--) {
    const int64_t n = among[bin] < left ? among[bin] : left;
    top += static_cast<float>(n) * (static_cast<float>(bin + 1) / 255.0f) * largest;
    left -= n;
  }
  row.per_scale = 0.5f * top * 1.001f;
  row.per_size = error * 1.001f + shape.rounding() * (largest + range);
  return finite(row.per_scale) && finite(row.per_size);
}

#if ES_SCREENS
// upper[i] of the labels of `blocks` records.
template <int PLANES>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni"))) void upper_bounds(
    const ScreenShape &shape, const uint8_t *record, int64_t blocks, const ScreenedRow &row, float *upper) {
  constexpr int TABLES = 1 << PLANES;
  __m512i table[2 * TABLES];
#pragma GCC unroll 16
  for (int t = 0; t < 2 * TABLES; t++) table[t] = _mm512_loadu_si512(row.bytes + 64 * t);
  const __m512 step = _mm512_set1_ps(row.step), low = _mm512_set1_ps(row.low);
  const __m512 per_scale = _mm512_set1_ps(row.per_scale), per_size = _mm512_set1_ps(row.per_size);
  for (int64_t b = 0; b < blocks; b++, record += shape.record) {
    const uint8_t *plane = record + SCREEN_HEAD, *at = record + shape.low_at;
    __m512i sum = _mm512_setzero_si512();
    for (int64_t s = 0; s < shape.steps; s++, at += 128, plane += 8 * PLANES) {
      const __m512i column = _mm512_loadu_si512(at);
      __m512i u[TABLES];
#pragma GCC unroll 8
      for (int t = 0; t < TABLES; t++) u[t] = _mm512_permutex2var_epi8(table[2 * t], column, table[2 * t + 1]);
#pragma GCC unroll 3
      for (int p = 0; p < PLANES; p++) {
        uint64_t bits;
        __builtin_memcpy(&bits, plane + 8 * p, 8);
        const __mmask64 mask = _cvtu64_mask64(bits);
#pragma GCC unroll 4
        for (int t = 0; t < TABLES >> (p + 1); t++) u[t] = _mm512_mask_blend_epi8(mask, u[2 * t], u[2 * t + 1]);
      }
      sum = _mm512_dpbusd_epi32(sum, u[0], _mm512_loadu_si512(at + 64));
    }
    const float *head = reinterpret_cast<const float *>(record);
    __m512 z = _mm512_fmadd_ps(step, _mm512_cvtepi32_ps(sum), per_scale);
    z = _mm512_fmadd_ps(z, _mm512_loadu_ps(head), _mm512_loadu_ps(head + 32));
    z = _mm512_fmadd_ps(low, _mm512_loadu_ps(head + 16), z);
    z = _mm512_fmadd_ps(per_size, _mm512_loadu_ps(head + 48), z);
    _mm512_storeu_ps(upper + SCREEN_LANES * b, z);
  }
}

inline void upper_bounds(const ScreenShape &shape, const uint8_t *record, int64_t blocks, const ScreenedRow &row, float *upper) {
  switch (shape.planes) {
    case 0: return upper_bounds<0>(shape, record, blocks, row, upper);
    case 1: return upper_bounds<1>(shape, record, blocks, row, upper);
    case 2: return upper_bounds<2>(shape, record, blocks, row, upper);
    default: return upper_bounds<3>(shape, record, blocks, row, upper);
  }
}
#endif

}  // namespace
}  // namespace ES_NS
