// The one thread pool of the process, and grow-only scratch per thread.
#pragma once

#include <stdint.h>

// Runs fn(ctx, task, worker) for every task in [0, tasks). With T = min(es_threads(), tasks), worker w in
// [0, T) runs the tasks [w*tasks/T, (w+1)*tasks/T) in ascending order; the caller is worker 0. Returns when all
// are done. Regions of different callers are serialised; a region inside a region runs inline as worker 0.
void es_parallel(int tasks, void (*fn)(void *ctx, int task, int worker), void *ctx);

// What es_parallel will use for this many tasks when called now.
int es_parallel_workers(int tasks);

// At least `floats` floats, 64-byte aligned, private to the calling thread and to `slot`; null when memory is
// short. Contents survive until the next call with the same slot; growing loses them.
constexpr int ES_SCRATCH_SLOTS = 8;
enum EsScratchSlot {
  ES_SLOT_GEMM_A = 0,
  ES_SLOT_GEMM_B = 1,
  ES_SLOT_GEMM_SHARED = 2,
  ES_SLOT_OUTPUT_0 = 3,
  ES_SLOT_OUTPUT_1 = 4,
  ES_SLOT_OUTPUT_2 = 5,
  ES_SLOT_OUTPUT_3 = 6,
  ES_SLOT_SPARE = 7
};
float *es_scratch(int slot, int64_t floats);
