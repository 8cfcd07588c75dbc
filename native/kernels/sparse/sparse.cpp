#include "../isa.h"

namespace ES_NS {
namespace {

inline bool ascending(int64_t rows, const int32_t *indptr, int64_t entries) {
  bool good = indptr[0] >= 0 && indptr[rows] <= entries;
  for (int64_t i = 0; i < rows; i++) good &= indptr[i] <= indptr[i + 1];
  return good;
}

// True when index + reach <= limit for every entry.
inline bool all_within(int64_t begin, int64_t end, const uint32_t *index, int64_t reach, int64_t limit) {
  uint32_t largest = 0;
  for (int64_t e = begin; e < end; e++) largest = index[e] > largest ? index[e] : largest;
  return begin >= end || static_cast<int64_t>(largest) + reach <= limit;
}

// Workers for so many multiplications: small products stay on the caller.
inline int workers_for(int64_t work, int64_t most) {
  int64_t shares = work / 32768 + 1;
  if (shares > most) shares = most;
  return es_parallel_workers(shares < 1 ? 1 : shares > 65536 ? 65536 : static_cast<int>(shares));
}

// out[v * W, ...) = sum over entries of value * x[offset + v * W, ...), NV whole vectors, or one of `rest` lanes.
template <int NV>
inline void sum_shifts(int64_t begin, int64_t end, const uint32_t *offset, const float *value, const float *x,
                       float *out) {
  F sum[NV];
  for (int v = 0; v < NV; v++) sum[v] = zero();
  for (int64_t e = begin; e < end; e++) {
    F factor = set(value[e]);
    const float *from = x + offset[e];
    for (int v = 0; v < NV; v++) sum[v] = fma(factor, load(from + v * W), sum[v]);
  }
  for (int v = 0; v < NV; v++) store(out + v * W, sum[v]);
}

inline void sum_rest(int64_t begin, int64_t end, const uint32_t *offset, const float *value, const float *x, int rest,
                     float *out) {
  F sum = zero();
  for (int64_t e = begin; e < end; e++) sum = fma(set(value[e]), load_n(x + offset[e], rest), sum);
  store_n(out, sum, rest);
}

constexpr int64_t TILE = 8 * W;

// One product at a time: to put a vector together from eight places takes longer than eight products. Written so that
// compilers do not try.
#if defined(__FMA__)
using One = __m128;
inline One one(float x) { return _mm_set_ss(x); }
inline One add_product(One sum, const float *a, const float *b) {
  return _mm_fmadd_ss(_mm_load_ss(a), _mm_load_ss(b), sum);
}
inline float number(One x) { return _mm_cvtss_f32(x); }
#else
using One = float;
inline One one(float x) { return x; }
inline One add_product(One sum, const float *a, const float *b) { return sum + *a * *b; }
inline float number(One x) { return x; }
#endif

}  // namespace

// Four sums per row hide the latency of the addition; their order is fixed.
int sparse_dots(int64_t batch, int64_t inputs, int64_t rows, int64_t entries, const int32_t *indptr,
                const uint32_t *indices, const float *values, const float *bias, int32_t relu, const float *x,
                float *y) {
  if (batch < 0 || inputs < 0 || rows < 0) return ES_BAD_ARGUMENT;
  if (!ascending(rows, indptr, entries)) return ES_INDEX_RANGE;
  if (!all_within(indptr[0], indptr[rows], indices, 1, inputs)) return ES_INDEX_RANGE;
  int workers = workers_for(batch * (indptr[rows] - indptr[0] + rows), batch * rows);
  parallel_tasks(workers, [&](int task, int) {
    int64_t first = batch * rows * task / workers, last = batch * rows * (task + 1) / workers;
    // Counted, not divided: for one example a division costs as much as the few products of a row.
    int64_t row = rows == 0 ? 0 : first % rows;
    const float *from = rows == 0 ? x : x + first / rows * inputs;
    for (int64_t at = first; at < last; at++, row++) {
      if (row == rows) row = 0, from += inputs;
      One sum[4] = {one(bias == nullptr ? 0.0f : bias[row]), one(0.0f), one(0.0f), one(0.0f)};
      int64_t e = indptr[row], end = indptr[row + 1];
      for (; e + 4 <= end; e += 4)
        for (int j = 0; j < 4; j++) sum[j] = add_product(sum[j], values + e + j, from + indices[e + j]);
      for (int j = 0; e < end; e++, j++) sum[j] = add_product(sum[j], values + e, from + indices[e]);
      float all = (number(sum[0]) + number(sum[1])) + (number(sum[2]) + number(sum[3]));
      y[at] = relu && all < 0.0f ? 0.0f : all;
    }
  });
  return ES_OK;
}

// y[plane, i % s, j % s, i / s, j / s] = padded x[plane, i, j]: the taps of a strided window become plain shifts.
int pad_planes(int64_t planes, int64_t height, int64_t width, int64_t padding, int64_t stride, const float *x,
               float *y) {
  if (planes < 0 || height < 0 || width < 0 || padding < 0 || stride < 1) return ES_BAD_ARGUMENT;
  int64_t down = (height + 2 * padding + stride - 1) / stride, across = (width + 2 * padding + stride - 1) / stride;
  int64_t size = stride * stride * down * across;
  parallel_ranges(planes, 1 + 16384 / (size + 1), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      float *to = y + p * size;
      for (int64_t i = 0; i < size; i++) to[i] = 0.0f;
      for (int64_t r = 0; r < height; r++) {
        int64_t i = r + padding;
        const float *from = x + (p * height + r) * width;
        float *row = to + i % stride * stride * down * across + i / stride * across;
        for (int64_t c = 0; c < width; c++) {
          int64_t j = c + padding;
          row[j % stride * down * across + j / stride] = from[c];
        }
      }
    }
  });
  return ES_OK;
}

// Sums run over whole rows of the padded plane, columns beyond `across` included, and are cut on the way to y.
int shifted_sums(int64_t batch, int64_t inputs, int64_t rows, int64_t down, int64_t across, int64_t pitch,
                 int64_t entries, const int32_t *indptr, const uint32_t *offsets, const float *values,
                 const float *bias, int32_t relu, const float *x, float *y) {
  if (batch < 0 || inputs < 0 || rows < 0 || down < 1 || across < 1 || pitch < across) return ES_BAD_ARGUMENT;
  if (!ascending(rows, indptr, entries)) return ES_INDEX_RANGE;
  int64_t length = (down - 1) * pitch + across;
  if (!all_within(indptr[0], indptr[rows], offsets, length, inputs)) return ES_INDEX_RANGE;
  int workers = workers_for(batch * (indptr[rows] - indptr[0] + rows) * length, batch * rows);
  parallel_tasks(workers, [&](int task, int) {
    int64_t first = batch * rows * task / workers, last = batch * rows * (task + 1) / workers;
    alignas(64) float sums[TILE];
    for (int64_t at = first; at < last; at++) {
      int64_t row = at % rows, begin = indptr[row], end = indptr[row + 1];
      const float *image = x + at / rows * inputs;
      float *to = y + at * down * across;
      float shift = bias == nullptr ? 0.0f : bias[row];
      for (int64_t p = 0; p < length; p += TILE) {
        int64_t count = length - p < TILE ? length - p : TILE;
        int64_t done = 0;
        if (count == TILE) sum_shifts<8>(begin, end, offsets, values, image + p, sums), done = TILE;
        for (; done + 4 * W <= count; done += 4 * W)
          sum_shifts<4>(begin, end, offsets, values, image + p + done, sums + done);
        for (; done + W <= count; done += W) sum_shifts<1>(begin, end, offsets, values, image + p + done, sums + done);
        if (done < count)
          sum_rest(begin, end, offsets, values, image + p + done, static_cast<int>(count - done), sums + done);
        for (int64_t i = 0; i < count;) {
          int64_t r = (p + i) / pitch, c = (p + i) % pitch;
          int64_t there = c < across ? across - c : 0, line = pitch - c;
          if (there > count - i) there = count - i;
          float *out = to + r * across + c;
          for (int64_t j = 0; j < there; j++) {
            float value = sums[i + j] + shift;
            out[j] = relu && value < 0.0f ? 0.0f : value;
          }
          i += line;
        }
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
