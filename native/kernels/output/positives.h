// Positives of a batch, sorted by label, then row, read along the labels of a chunk.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

struct Positives {
  int64_t count;
  const uint32_t *label;
  const uint32_t *row;

  // The first whose label is not below `at`.
  int64_t lower_bound(int64_t at) const {
    int64_t low = 0, high = count;
    while (low < high) {
      int64_t middle = (low + high) / 2;
      if (label[middle] < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Sorted, and within labels and rows: what a walk relies on.
  bool in_range(int64_t labels, int64_t rows) const {
    bool good = true;
    for (int64_t i = 0; i < count; i++) {
      good &= label[i] < labels && row[i] < rows && (i == 0 || label[i - 1] <= label[i]);
    }
    return good;
  }
};

}  // namespace
}  // namespace ES_NS
