// The rows of a rewiring: the dense gradient of a tile of labels, what goes from each row, what comes.
#pragma once
#include "../dense_output/pair_products.h"
#include "../dense_output/products.h"
#include "../random/philox.h"
#include "block.h"
#include "regrow.h"
#include "select.h"

namespace ES_NS {
namespace {

// h as every worker reads it.
struct Hidden {
  const float *hT, *by_input;
  float *norms;
};

#if defined(__AVX512F__)
// h [batch, inputs], rounded, in pairs along the batch as panels.
inline void pack_pairs_of_rows(int64_t batch, int64_t inputs, const float *h, float *panels) {
  const int64_t depth = pairs_of(batch);
  parallel_ranges((inputs + NR - 1) / NR, 4, [&](int64_t from, int64_t to) {
    for (int64_t p = from; p < to; p++) {
      const int cols = cut(inputs - p * NR, NR);
      for (int64_t k = 0; k < depth; k++) {
        uint16_t low[NR], high[NR];
        const float *row = h + 2 * k * inputs + p * NR;
        const bool two = 2 * k + 1 < batch;
        round_all(cols, row, low);
        if (two) round_all(cols, row + inputs, high);
        interleave(cols, low, two ? high : nullptr, reinterpret_cast<uint32_t *>(panels + (p * depth + k) * NR));
      }
    }
  });
}
#endif

template <class Column>
class Rows {
 public:
  Rows(const Regrow &args, const Layout &layout, const Hidden &hidden, Worker &worker, int64_t ties)
      : args_(args), step_(args.step), layout_(layout), hidden_(hidden), worker_(worker), ties_(ties) {}

  // Labels [from, to), one tile.
  void run_labels(int64_t from, int64_t to) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in;
    Column *columns = columns_of(from, to);
    if (columns == nullptr) return;
    gradients(from, to, columns, fan_in);
    for (int64_t l = 0; l < to - from; l++) {
      replace(from + l, from + l, from + l + 1, columns + l * fan_in, worker_.dense + l * inputs);
    }
  }

  // One group: what its labels say is added up, tile by tile.
  void run_group(int64_t group) {
    const int64_t inputs = step_.inputs, from = args_.starts[group], to = args_.starts[group + 1];
    Column *columns = columns_of(group, group + 1);
    if (columns == nullptr) return;
    __builtin_memset(worker_.sums, 0, static_cast<size_t>(layout_.sums) * 4);
    for (int64_t first = from; first < to; first += layout_.tile) {
      const int64_t end = first + layout_.tile < to ? first + layout_.tile : to;
      gradients(first, end, columns, 0);
      for (int64_t l = 0; l < end - first; l++) add_sizes(worker_.dense + l * inputs);
    }
    replace(group, from, to, columns, worker_.sums);
  }

 private:
  Column *columns_of(int64_t from, int64_t to) {
    Column *columns = static_cast<Column *>(args_.columns) + from * args_.fan_in;
    if (all_below((to - from) * args_.fan_in, columns, step_.inputs)) return columns;
    worker_.counts[2] = ES_INDEX_RANGE;
    return nullptr;
  }

  void add_sizes(const float *row) {
    float *sums = worker_.sums;
    int64_t j = 0;
    for (; j + W <= step_.inputs; j += W) store(sums + j, load(sums + j) + abs_of(load(row + j)));
    const int rest = static_cast<int>(step_.inputs - j);
    if (rest > 0) store_n(sums + j, load_n(sums + j, rest) + abs_of(load_n(row + j, rest)), rest);
  }

  // Label l reads columns + (l - from) * stride.
  void gradients(int64_t from, int64_t to, const Column *columns, int64_t stride) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in, ldz = layout_.blocks.padded();
    if (step_.batch == 0) {
      __builtin_memset(worker_.dense, 0, static_cast<size_t>((to - from) * inputs) * 4);
    } else {
      int64_t positives_at = step_.positives.lower_bound(from);
      const Norms norms = Norms(layout_.blocks, hidden_.norms, hidden_.norms);
      each_block(layout_.blocks, [&](auto nv, int64_t block) {
        constexpr int NV = decltype(nv)::value;
        LabelLoss loss(step_, layout_.blocks, block, positives_at, norms);
        LossSum sum;
        const int64_t first = layout_.blocks.first_row(block);
        const float *hT = hidden_.hT + first * inputs;
        for (int64_t l = from; l < to; l++) {
          const Column *c = columns + (l - from) * stride;
          F z[NV];
          if (args_.short_weights != nullptr) {
            forward_label<NV>(fan_in, c, args_.short_weights + l * fan_in, step_.bias.w[l], hT, z);
          } else {
            forward_label<NV>(fan_in, c, step_.weights.w + l * fan_in, step_.bias.w[l], hT, z);
          }
          loss.gradient<NV>(static_cast<uint32_t>(l), z, sum);
          for (int v = 0; v < NV; v++) store(worker_.logits + (l - from) * ldz + first + v * W, z[v]);
        }
      });
      if (args_.evidence.label != nullptr) drop_positives(from, to, positives_at);
      product(to - from);
    }
    if (args_.evidence.label != nullptr) add_evidence(from, to, columns, stride);
  }

  void product(int64_t labels) {
    const int64_t inputs = step_.inputs, batch = step_.batch, ldz = layout_.blocks.padded();
#if defined(__AVX512F__)
    if (args_.pairs) {
      // In place: what is written lies behind what is still to be read.
      round_all(labels * ldz, worker_.logits, reinterpret_cast<uint16_t *>(worker_.logits));
      weight_product<Pairs>(labels, inputs, pairs_of(batch), worker_.logits, ldz / 2, hidden_.by_input, worker_.dense,
                                worker_.strips);
      return;
    }
#endif
    weight_product(labels, inputs, batch, worker_.logits, ldz, hidden_.by_input, worker_.dense, worker_.strips);
  }

  // The evidence speaks for the positives: the batch stands for the negatives alone.
  void drop_positives(int64_t from, int64_t to, int64_t at) {
    const Positives &p = step_.positives;
    for (; at < p.count && p.label[at] < to; at++) {
      worker_.logits[(p.label[at] - from) * layout_.blocks.padded() + p.row[at]] = 0.0f;
    }
  }

  void add_evidence(int64_t from, int64_t to, const Column *columns, int64_t stride) {
    const int64_t inputs = step_.inputs;
    const Evidence &e = args_.evidence;
    for (int64_t i = Positives{e.count, e.label, e.row}.lower_bound(from); i < e.count && e.label[i] < to; i++) {
      const int64_t l = e.label[i] - from;
      const float *h = e.h + e.row[i] * inputs;
      const double z = logit(e.label[i], columns + l * stride, h);
      F g = set(e.weight[i]) * slope(z, e.row[i]);
      float *row = worker_.dense + l * inputs;
      int64_t j = 0;
      for (; j + W <= inputs; j += W) store(row + j, fma(g, load(h + j), load(row + j)));
      int rest = static_cast<int>(inputs - j);
      if (rest > 0) store_n(row + j, fma(g, load_n(h + j, rest), load_n(row + j, rest)), rest);
    }
  }

  double logit(int64_t label, const Column *columns, const float *h) const {
    const int64_t fan_in = args_.fan_in, at = label * fan_in;
    double z = step_.bias.w[label];
    for (int64_t k = 0; k < fan_in; k++) {
      const float w = args_.short_weights != nullptr ? number(args_.short_weights[at + k]) : step_.weights.w[at + k];
      z += static_cast<double>(w) * h[columns[k]];
    }
    return z;
  }

  // dloss/dz at a positive, of evidence row `row`.
  F slope(double logit, uint32_t row) const {
    const float z = static_cast<float>(logit);
    if (step_.loss == LOSS_SQUARED_HINGE) return set(-2.0f) * max_of(zero(), set(1.0f - z));
    if (step_.loss == LOSS_SOFTMAX) {
      const float *norm = args_.evidence.norm;
      return exp_minus(set(static_cast<float>(norm[row] - logit))) - set(norm[args_.evidence.rows + row]);
    }
    F e = exp_minus(set(__builtin_fabsf(z)));
    return zero() - (z > 0.0f ? e : set(1.0f)) / (set(1.0f) + e);
  }

  // The row of a unit whose labels are [from, to).
  void replace(int64_t unit, int64_t from, int64_t to, Column *columns, float *gradient) {
    const int64_t fan_in = args_.fan_in;
    const int64_t going = choose(sizes_of(args_, unit, worker_));
    if (going == 0) return;
    uint32_t *doomed = worker_.doomed, *grown = worker_.grown;
    // What stays is no candidate: all columns of the row to 0, then back what those that go had.
    for (int64_t i = 0; i < going; i++) worker_.keys[i] = gradient[columns[doomed[i]]];
    for (int64_t k = 0; k < fan_in; k++) gradient[columns[k]] = 0.0f;
    for (int64_t i = 0; i < going; i++) gradient[columns[doomed[i]]] = worker_.keys[i];
    const int64_t coming =
        select_largest<LargestMagnitudes>(gradient, step_.inputs, going, __FLT_DENORM_MIN__, worker_.keys, grown);
    if (coming < going) fill(unit, columns, going, coming);

    // A column that went and comes back stays in its slot, weight and all.
    uint8_t *used = worker_.used;
    for (int64_t i = 0; i < going; i++) used[grown[i]] = 1;
    int64_t left = 0;
    for (int64_t i = 0; i < going; i++) {
      const uint32_t column = columns[doomed[i]];
      if (used[column]) used[column] = 0;
      else doomed[left++] = doomed[i];
    }
    for (int64_t i = 0, next = 0; i < going; i++) {
      if (!used[grown[i]]) continue;
      used[grown[i]] = 0;
      const int64_t slot = doomed[next++];
      columns[slot] = static_cast<Column>(grown[i]);
      for (int64_t at = from * fan_in + slot; at < to * fan_in; at += fan_in) {
        if (args_.short_weights != nullptr) args_.short_weights[at] = 0;
        else step_.weights.w[at] = 0.0f;
        if (step_.weights.m != nullptr) step_.weights.m[at] = 0.0f;
        if (step_.weights.v != nullptr) step_.weights.v[at] = 0.0f;
      }
    }
    worker_.counts[0] += static_cast<double>(left * (to - from));
  }

  // Slots of a row that go, ascending, into worker.doomed.
  int64_t choose(const float *w) {
    uint32_t *doomed = worker_.doomed;
    const int64_t stays = args_.prune.stays;
    if (args_.prune.per_row < 0) {
      int64_t count = 0;
      for (int64_t k = stays; k < args_.fan_in; k++) {
        const float size = __builtin_fabsf(w[k]);
        if (size == args_.prune.threshold ? ties_-- > 0 : size < args_.prune.threshold) {
          doomed[count++] = static_cast<uint32_t>(k);
        }
      }
      return count;
    }
    if (args_.prune.per_row == 0) return 0;
    const int64_t going = select_largest<SmallestMagnitudes>(w + stays, args_.fan_in - stays, args_.prune.per_row,
                                                             -__builtin_inff(), worker_.keys, doomed);
    for (int64_t i = 0; i < going; i++) doomed[i] += static_cast<uint32_t>(stays);
    return going;
  }

  // Where too few gradients differ from 0, the rest grows at random: draw `slot of the layer` of the stream decides.
  __attribute__((noinline)) void fill(int64_t unit, const Column *columns, int64_t going, int64_t coming) {
    const int64_t fan_in = args_.fan_in;
    uint8_t *used = worker_.used;
    const uint32_t *doomed = worker_.doomed;
    uint32_t *grown = worker_.grown;
    for (int64_t k = 0, next = 0; k < fan_in; k++) {
      if (next < going && doomed[next] == k) next++;
      else used[columns[k]] = 1;
    }
    for (int64_t i = 0; i < coming; i++) used[grown[i]] = 1;
    for (int64_t i = coming; i < going; i++) {
      const uint64_t at = static_cast<uint64_t>(unit * fan_in + i);
      uint32_t bits[WORDS];
      philox(args_.key0, args_.key1, args_.counter + (at >> 2), bits);
      const int64_t free = step_.inputs - (fan_in - going) - i;
      int64_t skip = static_cast<int64_t>((bits[at & 3] >> 8) * 0x1p-24 * static_cast<double>(free));
      int64_t column = 0;
      while (used[column] || skip-- > 0) column++;
      used[column] = 1;
      grown[i] = static_cast<uint32_t>(column);
    }
    for (int64_t k = 0, next = 0; k < fan_in; k++) {
      if (next < going && doomed[next] == k) next++;
      else used[columns[k]] = 0;
    }
    for (int64_t i = 0; i < going; i++) used[grown[i]] = 0;
  }

  const Regrow &args_;
  const StepArgs &step_;
  const Layout &layout_;
  const Hidden &hidden_;
  Worker &worker_;
  int64_t ties_;
};

}  // namespace
}  // namespace ES_NS
