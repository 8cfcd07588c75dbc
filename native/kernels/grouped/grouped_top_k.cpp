// The k best labels of a layer whose labels share their inputs in groups, forward only.
#include "../output/bf16.h"
#include "../output/dots.h"
#include "../top_k/top_k.h"
#include "products.h"
#include "shape.h"

namespace ES_NS {
namespace {

// Up to this many rows, dot products over the gathered inputs: nothing is padded to a register of rows.
constexpr int64_t FEW = 8;

struct Layout {
  Blocks blocks;
  TopKLayout best;
  bool few;
  int64_t hidden, panel, logits, wide, columns, worker;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in, int64_t most, int64_t k, bool bf16)
      : blocks(batch), best(batch, k), few(batch <= FEW) {
    hidden = few ? 0 : round_up(inputs * blocks.padded(), 16);
    panel = round_up(fan_in * (few ? FEW : MAX_VECS * W), 16);
    logits = few ? 0 : round_up(most * MAX_VECS * W, 16);
    wide = bf16 ? round_up(most * fan_in, 16) : 0;
    columns = round_up(fan_in, 16);
    worker = panel + logits + wide + columns + best.worker;
  }
  int64_t length(int workers) const { return hidden + workers * worker + 16; }
};

struct Scores {
  int64_t batch, inputs;
  const float *h, *hT, *weights, *bias;
  const uint32_t *label_of;
  const uint16_t *short_weights;

  // The weights of a group from slot `from` on, in float32; `wide` has room for them.
  const float *weights_of(const Groups &layer, int64_t from, int64_t labels, float *wide) const {
    if (short_weights == nullptr) return weights + from * layer.fan_in;
    widen(labels * layer.fan_in, short_weights + from * layer.fan_in, wide);
    return wide;
  }
};

using Found = Heaps<false>;

template <int LABELS, int ROWS>
inline void few_rows(const Scores &s, int64_t fan_in, int64_t from, int64_t labels, const float *w, const float *panel,
                     int64_t row, Found &best) {
  int64_t l = 0;
  for (; l + LABELS <= labels; l += LABELS) {
    float z[LABELS][ROWS];
    dots<LABELS, ROWS>(fan_in, w + l * fan_in, fan_in, panel + row * fan_in, fan_in, z);
    for (int i = 0; i < LABELS; i++) {
      const int64_t slot = from + l + i;
      for (int r = 0; r < ROWS; r++) best.offer_one(s.label_of[slot], row + r, z[i][r] + s.bias[slot]);
    }
  }
  if constexpr (LABELS > 1) {
    if (l < labels) few_rows<1, ROWS>(s, fan_in, from + l, labels - l, w + l * fan_in, panel, row, best);
  }
}

void score_few(const Scores &s, const Groups &layer, int64_t group, const uint32_t *columns, float *panel, float *wide,
               Found &best) {
  const int64_t fan_in = layer.fan_in, from = layer.starts[group], labels = layer.starts[group + 1] - from;
  const float *w = s.weights_of(layer, from, labels, wide);
  for (int64_t r = 0; r < s.batch; r++) {
    for (int64_t k = 0; k < fan_in; k++) panel[r * fan_in + k] = s.h[r * s.inputs + columns[k]];
  }
  int64_t row = 0;
  for (; row + 4 <= s.batch; row += 4) few_rows<2, 4>(s, fan_in, from, labels, w, panel, row, best);
  for (; row + 2 <= s.batch; row += 2) few_rows<4, 2>(s, fan_in, from, labels, w, panel, row, best);
  for (; row < s.batch; row++) few_rows<8, 1>(s, fan_in, from, labels, w, panel, row, best);
}

void score_many(const Scores &s, const Groups &layer, const Blocks &blocks, int64_t group, const uint32_t *columns,
                float *panel, float *z, float *wide, Found &best) {
  const int64_t from = layer.starts[group], labels = layer.starts[group + 1] - from;
  const float *w = s.weights_of(layer, from, labels, wide);
  each_block(blocks, [&](auto nv, int64_t block) {
    constexpr int NV = decltype(nv)::value;
    const int64_t first = blocks.first_row(block);
    gather_inputs<NV>(layer.fan_in, columns, s.hT + first * s.inputs, panel);
    group_logits<Singles, NV>(labels, layer.fan_in, w, s.bias + from, panel, z);
    for (int64_t l = 0; l < labels; l++) {
      F score[NV];
      for (int v = 0; v < NV; v++) score[v] = load(z + (l * NV + v) * W);
      best.template offer<NV>(s.label_of[from + l], first, score);
    }
  });
}

int best(Scores s, const Groups &layer, const Layout &layout, float *workspace, uint32_t *top_labels, float *top_scores) {
  const int threads = es_threads();
  const int tasks = layer.groups < threads ? static_cast<int>(layer.groups) : threads;
  float *hT = align64(workspace), *lists = hT + layout.hidden, *buffers = lists + tasks * layout.best.worker;
  if (!layout.few) transpose_hidden(layout.blocks, s.inputs, s.h, hT);
  s.hT = hT;
  int bad = 0;
  parallel_tasks(tasks, [&](int task, int) {
    Found best(layout.best, lists + task * layout.best.worker);
    best.clear(s.batch, layout.best.padded);
    best.set_rows(s.batch);
    float *panel = buffers + task * (layout.panel + layout.logits + layout.wide + layout.columns);
    float *z = panel + layout.panel, *wide = z + layout.logits;
    uint32_t *columns = reinterpret_cast<uint32_t *>(wide + layout.wide);
    const int64_t from = layer.groups * task / tasks, to = layer.groups * (task + 1) / tasks;
    if (!layer.in_range(from, to, s.inputs)) {
      __atomic_store_n(&bad, 1, __ATOMIC_RELAXED);
      return;
    }
    for (int64_t g = from; g < to; g++) {
      layer.columns_of(g, columns);
      if (layout.few) score_few(s, layer, g, columns, panel, wide, best);
      else score_many(s, layer, layout.blocks, g, columns, panel, z, wide, best);
    }
  });
  if (bad != 0) return ES_INDEX_RANGE;
  merge_best(layout.best, lists, tasks, s.batch, top_labels, top_scores);
  return ES_OK;
}

}  // namespace

int grouped_top_k_workspace(int64_t batch, int64_t inputs, int64_t fan_in, int64_t group_size, int64_t k, int32_t bf16,
                            double *length) {
  if (length == nullptr || !Groups::sizes_fit(batch, inputs, fan_in, group_size) || k < 0 || k > INT32_MAX) {
    return ES_BAD_ARGUMENT;
  }
  *length = static_cast<double>(Layout(batch, inputs, fan_in, group_size, k, bf16 != 0).length(es_threads()));
  return ES_OK;
}

int grouped_top_k(int64_t batch, int64_t inputs, int64_t labels, int64_t k, const float *h, const float *weights,
                  const float *bias, int64_t groups, int64_t group_size, int64_t fan_in, const uint32_t *starts,
                  const void *columns, int32_t column_bytes, const uint32_t *label_of, uint32_t *top_labels,
                  float *top_scores, float *workspace, int64_t workspace_length, const uint16_t *short_weights) {
  Groups layer{labels, groups, group_size, fan_in, starts, columns, column_bytes};
  if (!layer.sizes_in_range(batch, inputs) || k < 0 || k > INT32_MAX) return ES_BAD_ARGUMENT;
  Layout layout(batch, inputs, fan_in, group_size, k, short_weights != nullptr);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
  Scores s{batch, inputs, h, nullptr, weights, bias, label_of, short_weights};
  return best(s, layer, layout, workspace, top_labels, top_scores);
}

}  // namespace ES_NS
