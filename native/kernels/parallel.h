// es_parallel over ranges of numbers, with a lambda instead of a context struct.
#pragma once

#include "../runtime/pool.h"

namespace ES_NS {
namespace {

// body(task, worker) for every task in [0, tasks).
template <class Body>
inline void parallel_tasks(int tasks, const Body &body) {
  es_parallel(
      tasks, [](void *ctx, int task, int worker) { (*static_cast<const Body *>(ctx))(task, worker); },
      const_cast<void *>(static_cast<const void *>(&body)));
}

// body(begin, end) over [0, n), cut at multiples of `grain`, one range per worker. The cuts depend on the thread
// count, so this is for work whose parts do not see each other. Below `grain` everything runs on the caller.
template <class Body>
inline void parallel_ranges(int64_t n, int64_t grain, const Body &body) {
  int64_t blocks = (n + grain - 1) / grain;
  int workers = es_parallel_workers(blocks > 65536 ? 65536 : static_cast<int>(blocks));
  parallel_tasks(workers, [&](int task, int) {
    int64_t begin = blocks * task / workers * grain;
    int64_t end = blocks * (task + 1) / workers * grain;
    if (end > n) end = n;
    if (begin < end) body(begin, end);
  });
}

}  // namespace
}  // namespace ES_NS
