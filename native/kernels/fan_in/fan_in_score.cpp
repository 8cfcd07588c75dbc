// Logits of some labels and the k best of all, forward only.
#include "../output/step.h"
#include "../top_k/top_k.h"
#include "block.h"
#include "index.h"
#include "screen.h"

namespace ES_NS {
namespace {

// Labels whose weights stay in the first-level cache while the blocks of the batch go by.
constexpr int64_t TILE = 64;

struct Scores {
  int64_t batch, inputs, fan_in;
  const float *h;
  const void *columns;
  const float *weights, *bias;
  float *workspace;
  const uint16_t *short_weights;  // in bfloat16 instead of `weights`, or null
};

template <class Column, class Weight>
struct Layer {
  int64_t inputs, fan_in;
  const Column *columns;
  const Weight *weights;
  const float *bias;

  Layer(const Scores &s, const Weight *w)
      : inputs(s.inputs), fan_in(s.fan_in), columns(static_cast<const Column *>(s.columns)), weights(w), bias(s.bias) {}

  template <int NV>
  inline void forward(int64_t l, const float *hT, F *z) const {
    forward_label<NV>(fan_in, columns + l * fan_in, weights + l * fan_in, bias[l], hT, z);
  }
  // One row without padding: h stays where it is. Sums in the order of forward_label<1>.
  inline float dot(int64_t l, const float *h) const {
    const Column *c = columns + l * fan_in;
    const Weight *w = weights + l * fan_in;
    float sum[8] = {bias[l]};
    int64_t k = 0;
    for (; k + 8 <= fan_in; k += 8) {
#pragma GCC unroll 8
      for (int s = 0; s < 8; s++) sum[s] = fused(number(w[k + s]), h[c[k + s]], sum[s]);
    }
    for (; k < fan_in; k++) sum[0] = fused(number(w[k]), h[c[k]], sum[0]);
    float z = sum[0];
#pragma GCC unroll 8
    for (int s = 1; s < 8; s++) z += sum[s];
    return z;
  }
  bool in_range(int64_t from, int64_t to) const {
    return all_below((to - from) * fan_in, columns + from * fan_in, inputs);
  }

 private:
  static inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__AVX512F__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
  }
};

// work(from, to, worker) over the tiles of [begin, end); false when a column is out of range.
template <class Column, class Weight, class Work>
bool over_tiles(const Layer<Column, Weight> &layer, int64_t begin, int64_t end, int tasks, const Work &work) {
  const int64_t tiles = (end - begin + TILE - 1) / TILE;
  int bad = 0;
  parallel_tasks(tasks, [&](int task, int) {
    for (int64_t i = tiles * task / tasks; i < tiles * (task + 1) / tasks; i++) {
      int64_t from = begin + i * TILE, to = from + TILE < end ? from + TILE : end;
      if (!layer.in_range(from, to)) {
        __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
        return;
      }
      work(from, to, task);
    }
  });
  return bad == 0;
}

inline int tasks_for(int64_t labels) {
  int64_t tiles = (labels + TILE - 1) / TILE;
  return tiles < es_threads() ? static_cast<int>(tiles) : es_threads();
}

template <class Column, class Weight>
int logits(const Scores &s, const Weight *weights, int64_t begin, int64_t end, float *out) {
  const Layer<Column, Weight> layer(s, weights);
  const Blocks blocks(s.batch);
  const int64_t width = end - begin;
  float *hT = align64(s.workspace);
  transpose_hidden(blocks, s.inputs, s.h, hT);
  return over_tiles(layer, begin, end, tasks_for(width), [&](int64_t from, int64_t to, int) {
           each_block(blocks, [&](auto nv, int64_t block) {
             constexpr int NV = decltype(nv)::value;
             alignas(64) float tile[TILE * NV * W];
             const float *own = hT + blocks.first_row(block) * s.inputs;
             for (int64_t l = from; l < to; l++) {
               F z[NV];
               layer.template forward<NV>(l, own, z);
               for (int v = 0; v < NV; v++) store(tile + (l - from) * NV * W + v * W, z[v]);
             }
             for (int64_t r = 0; r < blocks.rows(block); r++) {
               float *row = out + (blocks.first_row(block) + r) * width + (from - begin);
               for (int64_t l = 0; l < to - from; l++) row[l] = tile[l * NV * W + r];
             }
           });
         })
             ? ES_OK
             : ES_INDEX_RANGE;
}

template <class Column, class Weight>
int best(const Scores &s, const Weight *weights, int64_t labels, int64_t k, uint32_t *top_labels, float *top_scores) {
  const Layer<Column, Weight> layer(s, weights);
  const Blocks blocks(s.batch);
  const TopKLayout at(s.batch, k);
  float *hT = align64(s.workspace), *areas = hT + round_up(s.inputs * blocks.padded(), 16);
  const int tasks = tasks_for(labels);
  for (int task = 0; task < tasks; task++) Best(at, areas + task * at.worker).clear(s.batch, at.padded);
  const bool single = s.batch == 1;
  if (!single) transpose_hidden(blocks, s.inputs, s.h, hT);
  bool good = over_tiles(layer, 0, labels, tasks, [&](int64_t from, int64_t to, int task) {
    Best best(at, areas + task * at.worker);
    best.set_rows(s.batch);
    if (single) {
      for (int64_t l = from; l < to; l++) best.offer_one(static_cast<uint32_t>(l), 0, layer.dot(l, s.h));
      return;
    }
    each_block(blocks, [&](auto nv, int64_t block) {
      constexpr int NV = decltype(nv)::value;
      const float *own = hT + blocks.first_row(block) * s.inputs;
      for (int64_t l = from; l < to; l++) {
        F z[NV];
        layer.template forward<NV>(l, own, z);
        best.template offer<NV>(static_cast<uint32_t>(l), blocks.first_row(block), z);
      }
    });
  });
  if (!good) return ES_INDEX_RANGE;
  merge_best(at, areas, tasks, s.batch, top_labels, top_scores);
  return ES_OK;
}

#if ES_SCREENS
// The same by the screen: labels whose bound says that they cannot be among the best are not computed. The rows are
// one register at most, so that the sums of those that are have the order that they have in best().
template <class Column, class Weight>
int best_screened(const Scores &s, const Weight *weights, const ScreenShape &shape, const uint8_t *screen,
                  const ScreenedRow *rows, int64_t k, uint32_t *top_labels, float *top_scores) {
  constexpr int64_t BLOCKS = 16, LABELS = BLOCKS * SCREEN_LANES;
  const Layer<Column, Weight> layer(s, weights);
  const TopKLayout at(s.batch, k);
  float *areas = align64(s.workspace);
  const int64_t tiles = (shape.labels + LABELS - 1) / LABELS;
  // A thread for every 16 MiB: over 9.6 MB two threads took 0.53 ms and one 0.55, and the other core has work of its own.
  const int64_t worth = (tiles * BLOCKS * shape.record * s.batch >> 24) + 1, most = worth < tiles ? worth : tiles;
  const int tasks = es_parallel_workers(most > 65'536 ? 65'536 : static_cast<int>(most));
  for (int task = 0; task < tasks; task++) Best(at, areas + task * at.worker).clear(s.batch, at.padded);
  int bad = 0;
  parallel_tasks(tasks, [&](int task, int) {
    Best best(at, areas + task * at.worker);
    best.set_rows(s.batch);
    alignas(64) float upper[LABELS];
    for (int64_t i = tiles * task / tasks; i < tiles * (task + 1) / tasks; i++) {
      const int64_t first = i * LABELS, end = first + LABELS < shape.labels ? first + LABELS : shape.labels;
      const int64_t blocks = (end - first + SCREEN_LANES - 1) / SCREEN_LANES;
      for (int64_t r = 0; r < s.batch; r++) {
        upper_bounds(shape, screen + i * BLOCKS * shape.record, blocks, rows[r], upper);
        for (int64_t l = first; l < end; l += W) {
          uint32_t mask = not_below(load(upper + (l - first)), set(best.threshold(r)));
          for (; __builtin_expect(mask != 0, 0); mask &= mask - 1) {
            const int64_t label = l + __builtin_ctz(mask);
            if (label >= end) break;
            if (!layer.in_range(label, label + 1)) {
              __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
              return;
            }
            best.offer_one(static_cast<uint32_t>(label), r, layer.dot(label, s.h + r * s.inputs));
          }
        }
      }
    }
  });
  if (bad != 0) return ES_INDEX_RANGE;
  merge_best(at, areas, tasks, s.batch, top_labels, top_scores);
  return ES_OK;
}
#endif

}  // namespace

int fan_in_top_k_workspace(int64_t batch, int64_t inputs, int64_t k, double *length) {
  if (length == nullptr || batch < 0 || inputs < 1 || k < 0 || batch > INT32_MAX || inputs > INT32_MAX || k > INT32_MAX) {
    return ES_BAD_ARGUMENT;
  }
  double hidden = static_cast<double>(round_up(inputs * Blocks(batch).padded(), 16));
  *length = hidden + static_cast<double>(es_threads()) * static_cast<double>(TopKLayout(batch, k).worker) + 16.0;
  return ES_OK;
}

namespace {

// work(a column, the weights) with the types that the layer is stored in.
template <class Work>
int by_types(const Scores &s, int32_t column_bytes, const Work &work) {
  if (column_bytes != 2 && column_bytes != 4) return ES_BAD_ARGUMENT;
  if (s.short_weights != nullptr) {
    return column_bytes == 2 ? work(uint16_t{}, s.short_weights) : work(uint32_t{}, s.short_weights);
  }
  return column_bytes == 2 ? work(uint16_t{}, s.weights) : work(uint32_t{}, s.weights);
}

bool fits(int64_t batch, int64_t inputs, int64_t labels, int64_t fan_in, int64_t k, int64_t workspace_length) {
  double needed = 0.0;
  return labels >= 0 && labels <= UINT32_MAX && fan_in >= 1 && ES_NS::fan_in_top_k_workspace(batch, inputs, k, &needed) == ES_OK &&
         static_cast<double>(workspace_length) >= needed;
}

}  // namespace

int fan_in_logits(int64_t batch, int64_t inputs, int64_t labels, int64_t begin, int64_t end, int64_t fan_in, const float *h,
                  const void *columns, int32_t column_bytes, const float *weights, const float *bias, float *out,
                  float *workspace, int64_t workspace_length, const uint16_t *short_weights) {
  if (!fits(batch, inputs, labels, fan_in, 0, workspace_length) || begin < 0 || begin > end || end > labels) {
    return ES_BAD_ARGUMENT;
  }
  Scores s{batch, inputs, fan_in, h, columns, weights, bias, workspace, short_weights};
  return by_types(s, column_bytes, [&](auto column, const auto *w) {
    return logits<decltype(column)>(s, w, begin, end, out);
  });
}

int fan_in_top_k(int64_t batch, int64_t inputs, int64_t labels, int64_t fan_in, int64_t k, const float *h, const void *columns,
                 int32_t column_bytes, const float *weights, const float *bias, uint32_t *top_labels, float *top_scores,
                 float *workspace, int64_t workspace_length, const uint16_t *short_weights, const uint8_t *screen) {
  if (!fits(batch, inputs, labels, fan_in, k, workspace_length)) return ES_BAD_ARGUMENT;
  Scores s{batch, inputs, fan_in, h, columns, weights, bias, workspace, short_weights};
#if ES_SCREENS
  const ScreenShape shape(inputs, labels, fan_in);
  if (screen != nullptr && es_has_bytes() != 0 && shape.applies() && batch >= 1 && batch <= MOST_SCREENED) {
    ScreenedRow rows[MOST_SCREENED];
    bool known = true;
    for (int64_t r = 0; r < batch && known; r++) known = screen_row(shape, h + r * inputs, rows[r]);
    if (known) {
      return by_types(s, column_bytes, [&](auto column, const auto *w) {
        return best_screened<decltype(column)>(s, w, shape, screen, rows, k, top_labels, top_scores);
      });
    }
  }
#else
  (void)screen;
#endif
  return by_types(s, column_bytes, [&](auto column, const auto *w) {
    return best<decltype(column)>(s, w, labels, k, top_labels, top_scores);
  });
}

}  // namespace ES_NS
