#include "pool.h"

#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "../include/kernels.h"

namespace {

constexpr int MAX_THREADS = 256;
// On a busy machine every microsecond of spinning is taken from somebody else.
constexpr auto SPIN = std::chrono::microseconds(50);

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A number that one thread raises and another waits for: spins shortly, then sleeps.
class Signal {
 public:
  void raise() {
    value_.fetch_add(1);
    // Sequential consistency on both sides: either we see the sleeper, or it sees the new value.
    if (sleeping_.load()) {
      std::lock_guard<std::mutex> guard(mutex_);
      wake_.notify_one();
    }
  }

  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  void wait_past(uint32_t seen) {
    auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 64; i++) {
        if (value() != seen) return;
        pause_cpu();
      }
    } while (std::chrono::steady_clock::now() - start < SPIN);
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.store(true);
    while (value_.load() == seen) wake_.wait(lock);
    sleeping_.store(false);
  }

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<bool> sleeping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

struct Job {
  int tasks = 0;
  int workers = 0;
  void (*fn)(void *, int, int) = nullptr;
  void *ctx = nullptr;
};

thread_local bool inside_region = false;

void run_share(const Job &job, int worker) {
  int begin = static_cast<int>(static_cast<int64_t>(job.tasks) * worker / job.workers);
  int end = static_cast<int>(static_cast<int64_t>(job.tasks) * (worker + 1) / job.workers);
  for (int task = begin; task < end; task++) job.fn(job.ctx, task, worker);
}

// Shares are logical: worker w's tasks are the same whoever runs them. A helper that the system has not yet
// woken when the caller is done with its own share loses its share to the caller, so a busy machine costs
// speed, not waiting, and results stay the same.
class Pool {
 public:
  void run(const Job &job) {
    std::lock_guard<std::mutex> one_region(submit_);
    int helpers = ensure_helpers(job.workers - 1);
    job_ = job;
    pending_.store(job.workers - 1);
    uint32_t finished = done_.value();
    for (int i = 0; i < helpers; i++) helper_[i].go.raise();
    inside_region = true;
    run_share(job, 0);
    bool last = false;
    for (int i = 0; i < job.workers - 1; i++) {
      if (i < helpers && !helper_[i].claim(helper_[i].go.value())) continue;
      run_share(job, i + 1);
      last = pending_.fetch_sub(1) == 1;
    }
    inside_region = false;
    if (!last) done_.wait_past(finished);
  }

 private:
  struct alignas(128) Helper {
    Signal go;
    std::atomic<uint32_t> claimed{0};

    // True for exactly one caller per round.
    bool claim(uint32_t round) {
      uint32_t before = round - 1;
      return claimed.compare_exchange_strong(before, round);
    }
  };

  int ensure_helpers(int wanted) {
    for (; started_ < wanted && !refused_; started_++) {
      try {
        std::thread([this, index = started_] { serve(index); }).detach();
      } catch (const std::system_error &) {
        refused_ = true;
        break;
      }
    }
    return started_ < wanted ? started_ : wanted;
  }

  void serve(int index) {
    inside_region = true;
    Helper &self = helper_[index];
    for (uint32_t seen = 0;;) {
      self.go.wait_past(seen);
      seen = self.go.value();
      if (!self.claim(seen)) continue;
      run_share(job_, index + 1);
      if (pending_.fetch_sub(1) == 1) done_.raise();
    }
  }

  std::mutex submit_;
  Job job_;
  std::atomic<int> pending_{0};
  Signal done_;
  Helper helper_[MAX_THREADS];
  int started_ = 0;
  bool refused_ = false;
};

// NOTE: never destroyed. A pool with static lifetime would destroy condition variables on which detached
// threads still wait, and process.exit would hang.
Pool &pool() {
  static Pool *instance = [] {
    // Node unloads an addon with the worker thread that loaded it; our threads run its code for ever.
    Dl_info self;
    if (dladdr(reinterpret_cast<void *>(&es_parallel), &self) != 0 && self.dli_fname != nullptr) {
      dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
    return new Pool;
  }();
  return *instance;
}

int default_threads() {
  unsigned n = std::thread::hardware_concurrency();
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : static_cast<int>(n);
}

thread_local int wanted_threads = default_threads();

}  // namespace

int es_parallel_workers(int tasks) {
  int wanted = inside_region ? 1 : wanted_threads;
  return tasks < wanted ? (tasks < 1 ? 1 : tasks) : wanted;
}

void es_parallel(int tasks, void (*fn)(void *, int, int), void *ctx) {
  if (tasks <= 0) return;
  Job job{tasks, es_parallel_workers(tasks), fn, ctx};
  if (job.workers == 1) {
    run_share(job, 0);
  } else {
    pool().run(job);
  }
}

extern "C" int es_set_threads(int threads) {
  if (threads < 1 || threads > MAX_THREADS) return ES_BAD_ARGUMENT;
  wanted_threads = threads;
  return ES_OK;
}

extern "C" int es_threads(void) { return wanted_threads; }
