// Makes the screen of screen.h, where the processor permutes bytes.
#include "index.h"
#include "screen.h"

namespace ES_NS {
namespace {

template <class Column, class Weight>
int build(const ScreenShape &shape, const Column *columns, const Weight *weights, const float *bias, uint8_t *screen) {
  int bad = 0;
  parallel_ranges(shape.blocks(), 64, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; b++) {
      const int64_t first = b * SCREEN_LANES, end = first + SCREEN_LANES < shape.labels ? first + SCREEN_LANES : shape.labels;
      if (!all_below((end - first) * shape.fan_in, columns + first * shape.fan_in, shape.inputs)) {
        __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
        return;
      }
      screen_block(shape, b, columns, weights, bias, screen + b * shape.record);
    }
  });
  return bad == 0 ? ES_OK : ES_INDEX_RANGE;
}

bool sound(int64_t inputs, int64_t labels, int64_t fan_in) {
  return inputs >= 1 && labels >= 0 && labels <= UINT32_MAX && fan_in >= 1 && fan_in <= INT32_MAX;
}

}  // namespace

int fan_in_screen_length(int64_t inputs, int64_t labels, int64_t fan_in, double *length) {
  if (length == nullptr || !sound(inputs, labels, fan_in)) return ES_BAD_ARGUMENT;
  *length = 0.0;
#if ES_SCREENS
  const ScreenShape shape(inputs, labels, fan_in);
  if (es_has_bytes() != 0 && shape.applies()) *length = static_cast<double>(shape.blocks()) * static_cast<double>(shape.record);
#endif
  return ES_OK;
}

int fan_in_screen_build(int64_t inputs, int64_t labels, int64_t fan_in, const void *columns, int32_t column_bytes,
                        const float *weights, const float *bias, const uint16_t *short_weights, uint8_t *screen) {
  double length = 0.0;
  if (fan_in_screen_length(inputs, labels, fan_in, &length) != ES_OK || (length == 0.0 && labels > 0)) return ES_BAD_ARGUMENT;
  const ScreenShape shape(inputs, labels, fan_in);
  const auto with = [&](const auto *w) {
    if (column_bytes == 2) return build(shape, static_cast<const uint16_t *>(columns), w, bias, screen);
    if (column_bytes == 4) return build(shape, static_cast<const uint32_t *>(columns), w, bias, screen);
    return static_cast<int>(ES_BAD_ARGUMENT);
  };
  return short_weights != nullptr ? with(short_weights) : with(weights);
}

}  // namespace ES_NS
