// The k best labels of a dense layer: logits tile by tile, never batch x labels of them.
#include "../output/bf16.h"
#include "../output/dots.h"
#include "../output/step.h"
#include "../top_k/top_k.h"
#include "products.h"

namespace ES_NS {
namespace {

// Labels per tile: whole strips.
constexpr int64_t TILE = 8 * MR;
// Up to this many rows the weights are read once from memory anyway: plain dot products, nothing packed.
constexpr int64_t FEW = 8;

struct Scores {
  int64_t batch, inputs, labels;
  const float *h, *bias;

  float bias_of(int64_t label) const { return bias == nullptr ? 0.0f : bias[label]; }
};

// The same order of additions whatever the tile: a logit does not depend on its neighbours.
template <int LABELS, int ROWS>
inline void few_rows(const Scores &s, int64_t from, int64_t to, const float *w, int64_t row, Best &best) {
  for (int64_t l = from; l < to; l += LABELS) {
    if (to - l >= LABELS) {
      float z[LABELS][ROWS];
      dots<LABELS, ROWS>(s.inputs, w + (l - from) * s.inputs, s.inputs, s.h + row * s.inputs, s.inputs, z);
      for (int i = 0; i < LABELS; i++) {
        for (int r = 0; r < ROWS; r++) best.offer_one(static_cast<uint32_t>(l + i), row + r, z[i][r] + s.bias_of(l + i));
      }
      continue;
    }
    for (int64_t i = l; i < to; i++) {
      float z[1][ROWS];
      dots<1, ROWS>(s.inputs, w + (i - from) * s.inputs, s.inputs, s.h + row * s.inputs, s.inputs, z);
      for (int r = 0; r < ROWS; r++) best.offer_one(static_cast<uint32_t>(i), row + r, z[0][r] + s.bias_of(i));
    }
  }
}

struct Layout {
  Blocks blocks;
  TopKLayout best;
  int64_t panels, logits, strips, wide, worker;

  Layout(int64_t batch, int64_t inputs, int64_t k, bool bf16) : blocks(batch), best(batch, k) {
    bool packs = batch > FEW;
    panels = packs ? round_up(panels_length(inputs, batch), 16) : 0;
    logits = packs ? TILE * blocks.padded() : 0;
    strips = packs ? round_up(strips_length(TILE, KC), 16) : 0;
    wide = bf16 ? round_up(TILE * inputs, 16) : 0;
    worker = round_up(logits + strips, 16) + wide;
  }
  int64_t length(int workers) const { return panels + workers * (worker + best.worker) + 16; }
};

}  // namespace

int dense_top_k_workspace(int64_t batch, int64_t inputs, int64_t k, int32_t bf16, double *length) {
  if (length == nullptr || batch < 0 || inputs < 1 || k < 0 || batch > INT32_MAX || inputs > INT32_MAX || k > INT32_MAX) {
    return ES_BAD_ARGUMENT;
  }
  *length = static_cast<double>(Layout(batch, inputs, k, bf16 != 0).length(es_threads()));
  return ES_OK;
}

int dense_top_k(int64_t batch, int64_t inputs, int64_t labels, int64_t k, const float *h, const float *weights,
                const float *bias, uint32_t *top_labels, float *top_scores, float *workspace, int64_t workspace_length,
                const uint16_t *short_weights) {
  double needed = 0.0;
  if (labels < 0 || labels > UINT32_MAX || ES_NS::dense_top_k_workspace(batch, inputs, k, short_weights != nullptr, &needed) != ES_OK ||
      static_cast<double>(workspace_length) < needed) {
    return ES_BAD_ARGUMENT;
  }
  const Scores s{batch, inputs, labels, h, bias};
  const Layout layout(batch, inputs, k, short_weights != nullptr);
  const int64_t tiles = (labels + TILE - 1) / TILE;
  const int tasks = tiles < es_threads() ? static_cast<int>(tiles) : es_threads();
  float *panels = align64(workspace), *areas = panels + layout.panels, *lists = areas + tasks * layout.worker;
  const bool few = batch <= FEW;
  if (!few) pack_hidden_by_row(batch, inputs, h, panels);
  parallel_tasks(tasks, [&](int task, int) {
    Best best(layout.best, lists + task * layout.best.worker);
    best.clear(batch, layout.best.padded);
    best.set_rows(batch);
    float *z = areas + task * layout.worker, *strips = z + layout.logits;
    __builtin_memset(z, 0, static_cast<size_t>(layout.logits) * 4);
    for (int64_t i = tiles * task / tasks; i < tiles * (task + 1) / tasks; i++) {
      int64_t from = i * TILE, to = from + TILE < labels ? from + TILE : labels;
      const float *w = weights + from * inputs;
      if (short_weights != nullptr) {
        float *wide = areas + task * layout.worker + round_up(layout.logits + layout.strips, 16);
        widen((to - from) * inputs, short_weights + from * inputs, wide);
        w = wide;
      }
      if (few) {
        int64_t row = 0;
        for (; row + 4 <= batch; row += 4) few_rows<2, 4>(s, from, to, w, row, best);
        for (; row + 2 <= batch; row += 2) few_rows<4, 2>(s, from, to, w, row, best);
        for (; row < batch; row++) few_rows<8, 1>(s, from, to, w, row, best);
        continue;
      }
      int64_t ldz = layout.blocks.padded();
      logits_product(to - from, inputs, batch, w, panels, z, ldz, strips);
      each_block(layout.blocks, [&](auto nv, int64_t block) {
        constexpr int NV = decltype(nv)::value;
        int64_t first = layout.blocks.first_row(block);
        for (int64_t l = from; l < to; l++) {
          F score[NV];
          for (int v = 0; v < NV; v++) score[v] = load(z + (l - from) * ldz + first + v * W) + set(s.bias_of(l));
          best.template offer<NV>(static_cast<uint32_t>(l), first, score);
        }
      });
    }
  });
  merge_best(layout.best, lists, tasks, batch, top_labels, top_scores);
  return ES_OK;
}

}  // namespace ES_NS
