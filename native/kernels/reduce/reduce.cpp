#include "../isa.h"

namespace ES_NS {
namespace {

// The parts of a sum depend on n alone, never on the threads: each is added by one thread, and the parts are
// added in order.
constexpr int MOST_PARTS = 256;
constexpr int64_t SMALLEST_PART = 32768;

template <class Add>
inline double sum_parts(int64_t n, const float *x, const Add &add_to) {
  double parts[MOST_PARTS];
  int64_t size = (n + MOST_PARTS - 1) / MOST_PARTS;
  size = size < SMALLEST_PART ? SMALLEST_PART : (size + 63) / 64 * 64;
  int count = static_cast<int>((n + size - 1) / size);
  parallel_tasks(count, [&](int part, int) {
    int64_t i = part * size, end = i + size < n ? i + size : n;
    D2 even = zero_d2(), odd = zero_d2();
    for (; i + 2 * W <= end; i += 2 * W) {
      even = add_to(even, load(x + i));
      odd = add_to(odd, load(x + i + W));
    }
    for (; i < end; i += W) even = add_to(even, load_n(x + i, static_cast<int>(end - i)));
    parts[part] = reduce_add(even + odd);
  });
  double total = 0;
  for (int part = 0; part < count; part++) total += parts[part];
  return total;
}

constexpr int COLS = 64;
constexpr int LANES = COLS / W;
// Rows added in float before they join the total: keeps the error of long columns small.
constexpr int64_t RUN = 128;

}  // namespace

int sum(int64_t n, const float *x, double *out) {
  *out = sum_parts(n, x, [](D2 total, F a) { return add_wide(total, a); });
  return ES_OK;
}

int sum_squares(int64_t n, const float *x, double *out) {
  *out = sum_parts(n, x, [](D2 total, F a) { return add_wide_square(total, a); });
  return ES_OK;
}

// Threads share the columns, so that the order of a sum never depends on them.
int column_sum(int64_t rows, int64_t cols, const float *x, float *out, int32_t accumulate) {
  parallel_ranges(cols, rows * cols < 65536 ? cols + 1 : COLS, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += COLS) {
      int width = end - j < COLS ? static_cast<int>(end - j) : COLS;
      F total[LANES];
      for (int v = 0; v < LANES; v++) {
        total[v] = accumulate && v * W < width ? load_n(out + j + v * W, width - v * W) : zero();
      }
      for (int64_t i0 = 0; i0 < rows; i0 += RUN) {
        int64_t i1 = i0 + RUN < rows ? i0 + RUN : rows;
        F run[LANES];
        for (int v = 0; v < LANES; v++) run[v] = zero();
        if (width == COLS) {
          for (int64_t i = i0; i < i1; i++) {
            for (int v = 0; v < LANES; v++) run[v] = run[v] + load(x + i * cols + j + v * W);
          }
        } else {
          for (int64_t i = i0; i < i1; i++) {
            for (int v = 0; v * W < width; v++) run[v] = run[v] + load_n(x + i * cols + j + v * W, width - v * W);
          }
        }
        for (int v = 0; v < LANES; v++) total[v] = total[v] + run[v];
      }
      for (int v = 0; v * W < width; v++) store_n(out + j + v * W, total[v], width - v * W);
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
