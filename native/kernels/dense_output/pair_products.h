// The products of a dense output layer on items of two bfloat16 numbers. An item is as large as a float, so strips and
// panels are packed by the same code, which only moves them.
#pragma once

#include "products.h"

#if defined(__AVX512F__)

namespace ES_NS {
namespace {

inline int64_t pairs_of(int64_t n) { return (n + 1) / 2; }

// h [batch, inputs] as bfloat16 rows of an even length, a zero behind the last of an odd one.
inline void round_hidden(int64_t batch, int64_t inputs, const float *h, uint16_t *rows) {
  for (int64_t b = 0; b < batch; b++) {
    uint16_t *row = rows + b * 2 * pairs_of(inputs);
    row[2 * pairs_of(inputs) - 1] = 0;
    round_all(inputs, h + b * inputs, row);
  }
}

// Pairs along the batch, [pairs_of(batch), inputs], as panels.
inline void pack_pairs_by_input(int64_t batch, int64_t inputs, const uint16_t *rows, uint32_t *row, float *panels) {
  const int64_t depth = pairs_of(batch), step = 2 * pairs_of(inputs);
  for (int64_t k = 0; k < depth; k++) {
    interleave(inputs, rows + 2 * k * step, 2 * k + 1 < batch ? rows + (2 * k + 1) * step : nullptr, row);
    const float *items = reinterpret_cast<const float *>(row);
    for (int64_t j = 0; j < inputs; j += NR) pack_straight<NR>(cut(inputs - j, NR), 1, items + j, inputs, panels + j * depth + k * NR);
  }
}

}  // namespace
}  // namespace ES_NS

#endif
