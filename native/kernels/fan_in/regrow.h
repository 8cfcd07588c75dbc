// What a rewiring is asked (`Regrow`), and the memory that a worker has for one tile of labels.
#pragma once
#include "../output/bf16.h"
#include "../output/step.h"
#include "index.h"

namespace ES_NS {
namespace {

// Labels per tile: their gradients stay in the second cache.
inline int64_t tile_labels(int64_t inputs) {
  int64_t fit = 49152 / inputs / 16 * 16;
  return fit < 16 ? 16 : fit > 64 ? 64 : fit;
}

// Positive pairs of a wider sample, sorted by label: gradient += weight * (what the loss says at z of h[row]) * h[row].
struct Evidence {
  int64_t count, rows;
  const uint32_t *label, *row;
  const float *weight, *h;
  const float *norm;  // [2][rows]: log Z, and the share of one positive; softmax only

  bool in_range(int64_t begin, int64_t end) const {
    bool good = true;
    for (int64_t i = 0; i < count; i++) {
      good &= label[i] >= begin && label[i] < end && row[i] < rows && (i == 0 || label[i - 1] <= label[i]);
    }
    return good;
  }
};

// What goes: the per_row smallest of every row, or (per_row < 0) all below threshold and the first `ties` equal to it;
// of slots from `stays` on.
struct Prune {
  int64_t stays;
  int64_t per_row;
  float threshold;
  int64_t ties;
};

// A unit is what owns a row of columns: a label, or a group of labels, whose gradients count by their absolute sums.
struct Regrow {
  StepArgs step;  // begin and end count units
  int64_t units, fan_in;
  const uint32_t *starts;  // [units + 1], or null: unit u is label u
  void *columns;
  uint16_t *short_weights;  // in bfloat16 instead of step.weights, or null
  const float *scores;      // [units][fan_in], or null: weights
  Evidence evidence;
  Prune prune;
  uint32_t key0, key1;
  uint64_t counter;
  bool pairs;
  double *counts;

  int64_t first_label(int64_t unit) const { return starts == nullptr ? unit : starts[unit]; }
  bool starts_in_range() const {
    bool good = true;
    for (int64_t u = step.begin; u < step.end && starts != nullptr; u++) good &= starts[u] <= starts[u + 1];
    return good && first_label(step.end) <= step.labels;
  }
};

struct Layout {
  Blocks blocks;
  int64_t tile, norms, hidden, by_input, logits, dense, sums, sizes, strips, lists, candidates, marks, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in) : blocks(batch), tile(tile_labels(inputs)) {
    norms = Norms::shared_length(blocks);
    hidden = round_up(inputs * blocks.padded(), 16);
    by_input = round_up(panels_length(batch, inputs), 16);
    logits = round_up(tile * blocks.padded(), 16);
    dense = round_up(tile * inputs + W, 16);
    sums = round_up(inputs + W, 16);
    sizes = round_up(fan_in + W, 16);
    strips = round_up(strips_length(tile, KC), 16);
    lists = round_up(fan_in + W, 16);
    candidates = round_up(inputs + W, 16);
    marks = round_up((inputs + 3) / 4, 16);
    worker = logits + dense + sums + sizes + strips + lists + 2 * candidates + marks + 16;
  }
  int64_t length(int workers) const { return HEADER + norms + hidden + by_input + workers * worker + 16; }
};

struct Worker {
  float *logits;    // G: [labels of the tile][padded batch]
  float *dense;     // [labels of the tile][inputs]
  float *sums;      // [inputs]: of |gradient| over the labels of a group
  float *sizes;     // [fan_in]: a row of weights that are stored in bfloat16
  float *strips;
  uint32_t *doomed;  // slots of a row that go
  uint32_t *grown;   // columns that come, ascending; room for all candidates
  float *keys;       // of candidates
  uint8_t *used;     // [inputs], all 0 between rows
  double *counts;    // replaced, ties used, code

  Worker(const Layout &at, float *base) {
    logits = base;
    dense = logits + at.logits;
    sums = dense + at.dense;
    sizes = sums + at.sums;
    strips = sizes + at.sizes;
    doomed = reinterpret_cast<uint32_t *>(strips + at.strips);
    grown = doomed + at.lists;
    keys = strips + at.strips + at.lists + at.candidates;
    used = reinterpret_cast<uint8_t *>(keys + at.candidates);
    counts = reinterpret_cast<double *>(keys + at.candidates + at.marks);
  }
};

// What decides which slots of a row go: scores, or the magnitudes of weights.
inline const float *sizes_of(const Regrow &args, int64_t unit, const Worker &worker) {
  const int64_t at = unit * args.fan_in;
  if (args.scores != nullptr) return args.scores + at;
  if (args.short_weights == nullptr) return args.step.weights.w + at;
  widen(args.fan_in, args.short_weights + at, worker.sizes);
  return worker.sizes;
}

}  // namespace
}  // namespace ES_NS
