// Labels in groups: group g owns slots [starts[g], starts[g + 1]) and reads the inputs columns[g, 0..fanIn).
#pragma once

#include "../fan_in/index.h"

namespace ES_NS {
namespace {

struct Groups {
  int64_t labels, groups, most, fan_in;
  const uint32_t *starts;  // [groups + 1]
  const void *columns;     // [groups, fan_in]

  static bool sizes_fit(int64_t batch, int64_t inputs, int64_t fan_in, int64_t most) {
    constexpr int64_t LIMIT = INT32_MAX;
    return batch >= 0 && inputs >= 1 && fan_in >= 1 && most >= 1 && batch <= LIMIT && inputs <= LIMIT && fan_in <= LIMIT &&
           most <= LIMIT && most * fan_in <= LIMIT;
  }
  bool sizes_in_range(int64_t batch, int64_t inputs) const {
    return sizes_fit(batch, inputs, fan_in, most) && labels >= 0 && labels <= UINT32_MAX && groups >= 0;
  }

  // Groups [from, to) lie within the labels, none larger than `most`, and their columns below `inputs`.
  template <class Column>
  bool in_range(int64_t from, int64_t to, int64_t inputs) const {
    bool good = starts[to] <= labels;
    for (int64_t g = from; g < to; g++) good &= starts[g] <= starts[g + 1] && starts[g + 1] - starts[g] <= most;
    const Column *own = static_cast<const Column *>(columns) + from * fan_in;
    return good && all_below((to - from) * fan_in, own, inputs);
  }
};

}  // namespace
}  // namespace ES_NS
