// Builds the backward index of index.h.
#include "index.h"

namespace ES_NS {
namespace {

template <class Column>
int build(const IndexShape &shape, const Column *columns, uint16_t *index, int64_t begin, int64_t end) {
  const int64_t first = begin / shape.chunk, chunks = (end + shape.chunk - 1) / shape.chunk - first;
  const int threads = es_threads();
  const int tasks = chunks < threads ? static_cast<int>(chunks) : threads;
  const int64_t words = (index_scratch_words(shape) + 15) / 16 * 16;
  uint32_t *scratch = reinterpret_cast<uint32_t *>(es_scratch(ES_SLOT_OUTPUT_0, words * tasks));
  if (scratch == nullptr) return ES_NO_MEMORY;
  int32_t *bad = reinterpret_cast<int32_t *>(es_scratch(ES_SLOT_OUTPUT_1, 16 * tasks));
  if (bad == nullptr) return ES_NO_MEMORY;
  parallel_tasks(tasks, [&](int task, int) {
    bad[16 * task] = 0;
    for (int64_t i = chunks * task / tasks; i < chunks * (task + 1) / tasks; i++) {
      int64_t from = (first + i) * shape.chunk, to = from + shape.chunk;
      if (to > shape.labels) to = shape.labels;
      int64_t slots = (to - from) * shape.fan_in;
      const Column *own = columns + from * shape.fan_in;
      if (!all_below(slots, own, shape.inputs)) {
        bad[16 * task] = 1;
        return;
      }
      build_record(shape, slots, own, scratch + task * words, index + (first + i) * shape.record);
    }
  });
  for (int task = 0; task < tasks; task++) {
    if (bad[16 * task] != 0) return ES_INDEX_RANGE;
  }
  return ES_OK;
}

}  // namespace

int fan_in_index_length(int64_t inputs, int64_t labels, int64_t fan_in, int64_t chunk, double *length) {
  if (length == nullptr || inputs < 1 || labels < 0 || fan_in < 1 || chunk < 1) return ES_BAD_ARGUMENT;
  IndexShape shape(inputs, labels, fan_in, chunk);
  *length = chunk > 65536 || fan_in > 65536 || !shape.applies() ? 0.0 : static_cast<double>(shape.chunks() * shape.record);
  return ES_OK;
}

int fan_in_index_build(int64_t inputs, int64_t labels, int64_t fan_in, int64_t chunk, int64_t begin, int64_t end,
                       const void *columns, int32_t column_bytes, uint16_t *index) {
  IndexShape shape(inputs, labels, fan_in, chunk);
  if (inputs < 1 || labels < 0 || fan_in < 1 || chunk < 1 || chunk > 65536 || fan_in > 65536 || !shape.applies() ||
      begin < 0 || begin > end || end > labels || begin % chunk != 0 || (end % chunk != 0 && end != labels)) {
    return ES_BAD_ARGUMENT;
  }
  if (begin == end) return ES_OK;
  if (column_bytes == 2) return build(shape, static_cast<const uint16_t *>(columns), index, begin, end);
  if (column_bytes == 4) return build(shape, static_cast<const uint32_t *>(columns), index, begin, end);
  return ES_BAD_ARGUMENT;
}

}  // namespace ES_NS
