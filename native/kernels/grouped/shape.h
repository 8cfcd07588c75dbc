// Labels in groups: group g owns slots [starts[g], starts[g + 1]) and reads the inputs columns[g, 0..fanIn).
#pragma once

#include "../fan_in/index.h"

namespace ES_NS {
namespace {

struct Groups {
  int64_t labels, groups, most, fan_in;
  const uint32_t *starts;  // [groups + 1]
  const void *columns;     // [groups, fan_in], of 2 or 4 bytes
  int32_t column_bytes;

  static bool sizes_fit(int64_t batch, int64_t inputs, int64_t fan_in, int64_t most) {
    constexpr int64_t LIMIT = INT32_MAX;
    return batch >= 0 && inputs >= 1 && fan_in >= 1 && most >= 1 && batch <= LIMIT && inputs <= LIMIT && fan_in <= LIMIT &&
           most <= LIMIT && most * fan_in <= LIMIT;
  }
  bool sizes_in_range(int64_t batch, int64_t inputs) const {
    return sizes_fit(batch, inputs, fan_in, most) && labels >= 0 && labels <= UINT32_MAX && groups >= 0 &&
           (column_bytes == 2 || column_bytes == 4);
  }

  // Groups [from, to) lie within the labels, none larger than `most`, and their columns below `inputs`.
  bool in_range(int64_t from, int64_t to, int64_t inputs) const {
    bool good = starts[to] <= labels;
    for (int64_t g = from; g < to; g++) good &= starts[g] <= starts[g + 1] && starts[g + 1] - starts[g] <= most;
    const int64_t at = from * fan_in, n = (to - from) * fan_in;
    if (column_bytes == 2) return good && all_below(n, static_cast<const uint16_t *>(columns) + at, inputs);
    return good && all_below(n, static_cast<const uint32_t *>(columns) + at, inputs);
  }

  // NOTE: the kernels read 32-bit copies: written for both widths they would be twice the code.
  void columns_of(int64_t group, uint32_t *out) const {
    const int64_t at = group * fan_in;
    if (column_bytes == 4) {
      __builtin_memcpy(out, static_cast<const uint32_t *>(columns) + at, static_cast<size_t>(fan_in) * 4);
      return;
    }
    const uint16_t *own = static_cast<const uint16_t *>(columns) + at;
    for (int64_t k = 0; k < fan_in; k++) out[k] = own[k];
  }
};

}  // namespace
}  // namespace ES_NS
