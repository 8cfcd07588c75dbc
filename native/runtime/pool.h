// The one thread pool of the process.
#pragma once

#include <stdint.h>

// Runs fn(ctx, task, worker) for every task in [0, tasks). With T = min(es_threads(), tasks), worker w in
// [0, T) runs the tasks [w*tasks/T, (w+1)*tasks/T) in ascending order; the caller is worker 0. Returns when all
// are done. Regions of different callers are serialised; a region inside a region runs inline as worker 0.
void es_parallel(int tasks, void (*fn)(void *ctx, int task, int worker), void *ctx);

// What es_parallel will use for this many tasks when called now.
int es_parallel_workers(int tasks);
