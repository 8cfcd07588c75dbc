// The backward index: the slots of a chunk ordered by input, so that a row of dhT is read and written once per
// chunk. One record of 16-bit numbers per chunk, all of the same length:
//   [groups, features, groups x (count, features with that count), ..., features, ..., slots]
// Features are sorted by count, descending, then by input: loops over the slots of one feature then have a length
// that the branch predictor has just seen. A slot is label-in-chunk * fanIn + k.
#pragma once

#include <stddef.h>

#include "../isa.h"

namespace ES_NS {
namespace {

struct IndexShape {
  int64_t inputs, labels, fan_in, chunk, slots, max_groups, features_at, slots_at, record;

  IndexShape(int64_t d, int64_t l, int64_t f, int64_t c) : inputs(d), labels(l), fan_in(f), chunk(c), slots(c * f) {
    max_groups = 1;
    if (!applies()) return;
    // Distinct counts: 1 + 2 + ... + g <= slots.
    while ((max_groups + 1) * (max_groups + 2) / 2 <= slots) max_groups++;
    features_at = 2 + 2 * max_groups;
    slots_at = features_at + inputs;
    record = (slots_at + slots + 7) / 8 * 8;
  }

  // With fewer slots than inputs a row of dhT is touched about once per chunk: nothing to gain. 16 bits hold
  // features below 65536, and slots and counts below 65536.
  bool applies() const { return inputs <= 65536 && slots <= 65535 && slots >= inputs; }
  int64_t chunks() const { return (labels + chunk - 1) / chunk; }
};

// Scratch of build_record in 32-bit words.
inline int64_t index_scratch_words(const IndexShape &shape) { return shape.inputs + shape.slots + 2; }

// Columns must be < inputs. `scratch`: index_scratch_words, any contents.
template <class Column>
inline void build_record(const IndexShape &shape, int64_t slots, const Column *columns, uint32_t *scratch, uint16_t *record) {
  uint32_t *start = scratch, *features_with = scratch + shape.inputs;
  __builtin_memset(start, 0, static_cast<size_t>(shape.inputs) * 4);
  for (int64_t s = 0; s < slots; s++) start[columns[s]]++;
  uint32_t most = 0;
  for (int64_t j = 0; j < shape.inputs; j++) most = start[j] > most ? start[j] : most;
  __builtin_memset(features_with, 0, (static_cast<size_t>(most) + 1) * 4);
  for (int64_t j = 0; j < shape.inputs; j++) features_with[start[j]]++;

  // Per count, descending: the place of its next feature, and of that feature's slots.
  uint32_t groups = 0, features = 0;
  for (uint32_t count = most; count > 0; count--) {
    uint32_t n = features_with[count];
    features_with[count] = features;
    if (n == 0) continue;
    record[2 + 2 * groups] = static_cast<uint16_t>(count);
    record[3 + 2 * groups] = static_cast<uint16_t>(n);
    groups++;
    features += n;
  }
  record[0] = static_cast<uint16_t>(groups);
  record[1] = static_cast<uint16_t>(features);
  uint16_t *feature = record + shape.features_at, *slot = record + shape.slots_at;
  for (int64_t j = 0; j < shape.inputs; j++) {
    if (start[j] > 0) feature[features_with[start[j]]++] = static_cast<uint16_t>(j);
  }
  uint32_t at = 0;
  for (uint32_t i = 0; i < features; i++) {
    uint32_t count = start[feature[i]];
    start[feature[i]] = at;
    at += count;
  }
  for (int64_t s = 0; s < slots; s++) slot[start[columns[s]]++] = static_cast<uint16_t>(s);
}

template <class Column>
inline bool all_below(int64_t n, const Column *numbers, int64_t limit) {
  Column high = 0;
  for (int64_t i = 0; i < n; i++) high = numbers[i] > high ? numbers[i] : high;
  return n == 0 || high < limit;
}

// Nothing in the record points outside of dhT, of the weights or of the record itself.
inline bool record_in_range(const IndexShape &shape, int64_t slots, const uint16_t *record) {
  uint32_t groups = record[0], features = record[1];
  if (groups > shape.max_groups || features > shape.slots_at - shape.features_at) return false;
  uint64_t listed = 0, total = 0;
  for (uint32_t g = 0; g < groups; g++) {
    uint64_t count = record[2 + 2 * g], n = record[3 + 2 * g];
    listed += n;
    total += count * n;
  }
  if (listed != features || total != static_cast<uint64_t>(slots)) return false;
  const uint16_t *feature = record + shape.features_at, *slot = record + shape.slots_at;
  return all_below(features, feature, shape.inputs) && all_below(slots, slot, slots);
}

}  // namespace
}  // namespace ES_NS
