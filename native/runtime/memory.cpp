#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "../include/kernels.h"

namespace {

std::atomic<int64_t> scratch_total{0};

struct Scratch {
  float *data[ES_SCRATCH_SLOTS] = {};
  int64_t capacity[ES_SCRATCH_SLOTS] = {};

  void release(int slot) {
    ::operator delete(data[slot], std::align_val_t(64));
    scratch_total.fetch_sub(capacity[slot] * static_cast<int64_t>(sizeof(float)));
    data[slot] = nullptr;
    capacity[slot] = 0;
  }
  ~Scratch() {
    for (int slot = 0; slot < ES_SCRATCH_SLOTS; slot++) release(slot);
  }
};

thread_local Scratch scratch;

}  // namespace

float *es_scratch(int slot, int64_t floats) {
  if (floats > scratch.capacity[slot]) {
    scratch.release(slot);
    int64_t capacity = (floats + 1023) / 1024 * 1024;
    void *data = ::operator new(static_cast<size_t>(capacity) * sizeof(float), std::align_val_t(64), std::nothrow);
    if (data == nullptr) return nullptr;
    scratch.data[slot] = static_cast<float *>(data);
    scratch.capacity[slot] = capacity;
    scratch_total.fetch_add(capacity * static_cast<int64_t>(sizeof(float)));
  }
  return scratch.data[slot];
}

extern "C" int64_t es_scratch_bytes(void) { return scratch_total.load(); }

namespace {

// Whole pages only: the pages at both ends may belong to somebody else too.
void advise_pages(void *data, int64_t bytes, int advice) {
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / page * page;
  if (bytes > 0 && begin < end) madvise(reinterpret_cast<void *>(begin), end - begin, advice);
}

}  // namespace

extern "C" int es_advise_huge(void *data, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  advise_pages(data, bytes, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
  return ES_OK;
}

extern "C" int es_return_pages(void *data, int64_t bytes) {
#if defined(__linux__)
  advise_pages(data, bytes, MADV_DONTNEED);
#else
  (void)data;
  (void)bytes;
#endif
  return ES_OK;
}
