// The k best labels of every row while labels stream by, per worker, and their merge. The order of results is total:
// higher score first, NaN after everything else, ties by the smaller label. So the result does not depend on the cuts.
#pragma once

#include "../output/lanes.h"

namespace ES_NS {
namespace {

struct Candidate {
  float score;
  uint32_t label;
};

inline bool better(Candidate a, Candidate b) {
  if (a.score > b.score) return true;
  if (a.score < b.score) return false;
  bool a_nan = a.score != a.score, b_nan = b.score != b.score;
  return a_nan == b_nan ? a.label < b.label : b_nan;
}

// Heap with the worst on top.
inline void sift_down(Candidate *heap, int64_t n, int64_t i) {
  Candidate moved = heap[i];
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && better(heap[child], heap[child + 1])) child++;
    if (!better(moved, heap[child])) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = moved;
}

inline void sift_up(Candidate *heap, int64_t i) {
  Candidate moved = heap[i];
  while (i > 0) {
    int64_t parent = (i - 1) / 2;
    if (!better(heap[parent], moved)) break;
    heap[i] = heap[parent];
    i = parent;
  }
  heap[i] = moved;
}

// In floats, multiples of 16: per worker `padded` thresholds, then `padded` heaps of k, then their fill.
struct TopKLayout {
  int64_t padded, k, worker;

  TopKLayout(int64_t rows, int64_t best) : padded(round_up(rows, 16)), k(best), worker(round_up(padded * (2 + 2 * best), 16)) {}
};

// The heaps of one worker. ASCENDING: labels come in ascending order, so that a tie with the worst never enters.
template <bool ASCENDING>
class Heaps {
 public:
  Heaps(const TopKLayout &at, float *base)
      : k_(at.k),
        threshold_(base),
        heap_(reinterpret_cast<Candidate *>(base + at.padded)),
        held_(reinterpret_cast<int32_t *>(base + at.padded * (1 + 2 * at.k))) {}

  void clear(int64_t rows, int64_t padded) {
    for (int64_t r = 0; r < padded; r++) {
      // Nothing is below a NaN: a row takes all until its heap is full. Lanes beyond the batch take none.
      threshold_[r] = r < rows && k_ > 0 ? __builtin_nanf("") : __builtin_inff();
      held_[r] = 0;
    }
  }
  void set_rows(int64_t rows) { rows_ = rows; }
  // Of a row: what does not lie above it stays out.
  float threshold(int64_t row) const { return threshold_[row]; }

  // z: NV registers of rows from `first` on.
  template <int NV>
  inline void offer(uint32_t label, int64_t first, const F *z) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      F threshold = load(threshold_ + first + v * W);
      uint32_t mask = ASCENDING ? not_below(z[v], threshold) : not_less(z[v], threshold);
      if (__builtin_expect(mask != 0, 0)) enter(label, first + v * W, z[v], mask);
    }
  }

  inline void offer_one(uint32_t label, int64_t row, float score) {
    bool enters = ASCENDING ? !(score <= threshold_[row]) : !(score < threshold_[row]);
    if (enters) insert(row, {score, label});
  }

  // Best first; returns how many.
  int64_t sort(int64_t row) {
    Candidate *heap = heap_ + row * k_;
    int64_t n = held_[row];
    for (int64_t end = n - 1; end > 0; end--) {
      Candidate worst = heap[0];
      heap[0] = heap[end];
      heap[end] = worst;
      sift_down(heap, end, 0);
    }
    return n;
  }
  const Candidate *list(int64_t row) const { return heap_ + row * k_; }
  int64_t held(int64_t row) const { return held_[row]; }

 private:
  __attribute__((noinline)) void enter(uint32_t label, int64_t first, F z, uint32_t mask) {
    alignas(64) float score[W];
    store(score, z);
    for (; mask != 0; mask &= mask - 1) {
      int lane = __builtin_ctz(mask);
      if (first + lane < rows_) insert(first + lane, {score[lane], label});
    }
  }

  __attribute__((noinline)) void insert(int64_t row, Candidate candidate) {
    if (k_ == 0) return;
    Candidate *heap = heap_ + row * k_;
    if (held_[row] < k_) {
      heap[held_[row]] = candidate;
      sift_up(heap, held_[row]++);
      if (held_[row] < k_) return;
    } else {
      if (!better(candidate, heap[0])) return;
      heap[0] = candidate;
      sift_down(heap, k_, 0);
    }
    threshold_[row] = heap[0].score;
  }

  int64_t k_;
  float *threshold_;
  Candidate *heap_;
  int32_t *held_;
  int64_t rows_ = 0;
};

using Best = Heaps<true>;

// base: the areas of `workers` workers; top_labels, top_scores [rows, k].
inline void merge_best(const TopKLayout &at, float *base, int workers, int64_t rows, uint32_t *top_labels, float *top_scores) {
  parallel_ranges(rows, 8, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      uint32_t *labels = top_labels + row * at.k;
      float *scores = top_scores + row * at.k;
      int64_t filled = 0;
      for (int w = 0; w < workers; w++) {
        Best best(at, base + w * at.worker);
        int64_t n = best.sort(row);
        const Candidate *list = best.list(row);
        // Insertion of one sorted list into another, from the back: the worst fall off.
        int64_t total = filled + n < at.k ? filled + n : at.k;
        int64_t take = 0, old = 0;
        while (take + old < total) {
          bool fresh = old == filled || (take < n && better(list[take], {scores[old], labels[old]}));
          if (fresh) take++;
          else old++;
        }
        for (int64_t i = total; i-- > 0;) {
          bool fresh = old == 0 || (take > 0 && better({scores[old - 1], labels[old - 1]}, list[take - 1]));
          Candidate next = fresh ? list[--take] : Candidate{scores[old - 1], labels[old - 1]};
          if (!fresh) old--;
          scores[i] = next.score;
          labels[i] = next.label;
        }
        filled = total;
      }
      for (int64_t i = filled; i < at.k; i++) {
        scores[i] = -__builtin_inff();
        labels[i] = 0xFFFFFFFFu;
      }
    }
  });
}

}  // namespace
}  // namespace ES_NS
