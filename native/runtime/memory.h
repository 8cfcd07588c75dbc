// Grow-only scratch per thread.
#pragma once

#include <stdint.h>

enum EsScratchSlot {
  ES_SLOT_GEMM,
  ES_SLOT_BSR,
  ES_SLOT_OUTPUT_0,
  ES_SLOT_OUTPUT_1,
  ES_SLOT_OUTPUT_2,
  ES_SLOT_OUTPUT_3,
  ES_SCRATCH_SLOTS
};

// At least `floats` floats, 64-byte aligned, private to the calling thread and to `slot`; null when memory is
// short. Contents survive until the next call with the same slot; growing loses them.
float *es_scratch(int slot, int64_t floats);
