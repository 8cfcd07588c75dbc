// Kernels whose indices come out of files, on indices that are anything: each must answer ES_OK or a refusal, and touch
// nothing outside of its arrays, which AddressSanitizer watches. A coverage-guided fuzzer (libFuzzer) where the compiler
// has one; else (-DES_PLAIN_MUTATION) a loop of seeded random inputs, which knows nothing of coverage.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "../../native/include/kernels.h"
#include "../../native/include/sparse_kernels.h"

namespace {

/** What is left of the input, as small numbers; zeros when it is used up. */
struct Input {
  const uint8_t *data;
  size_t size;
  uint8_t byte() {
    if (size == 0) return 0;
    size--;
    return *data++;
  }
  int64_t below(int64_t n) { return n <= 1 ? 0 : (byte() | byte() << 8) % n; }
  // Mostly near the range, sometimes anything.
  uint32_t index(int64_t n) {
    uint8_t kind = byte();
    if (kind < 240) return static_cast<uint32_t>(below(n));
    if (kind < 248) return static_cast<uint32_t>(n);
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) word = word << 8 | byte();
    return word;
  }
};

// Arrays of exactly their length, so that one element beyond is seen.
template <typename T>
std::unique_ptr<T[]> array(int64_t n) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(n)]());
}

std::unique_ptr<uint32_t[]> indices(Input &in, int64_t n, int64_t range) {
  auto out = array<uint32_t>(n);
  for (int64_t i = 0; i < n; i++) out[i] = in.index(range);
  return out;
}

// Row pointers that rise to `entries`, damaged now and then.
std::unique_ptr<int32_t[]> pointers(Input &in, int64_t rows, int64_t entries) {
  auto out = array<int32_t>(rows + 1);
  for (int64_t r = 1; r < rows; r++) out[r] = out[r - 1] + static_cast<int32_t>(in.below(entries - out[r - 1] + 1));
  out[rows] = static_cast<int32_t>(entries);
  if (in.byte() > 200) out[in.below(rows + 1)] = static_cast<int32_t>(in.index(entries + 1));
  return out;
}

void sound(int code) {
  if (code != ES_OK && code != ES_INDEX_RANGE && code != ES_BAD_ARGUMENT && code != ES_NO_MEMORY) abort();
}

void bags(Input &in) {
  int64_t rows = 1 + in.below(5), vocab = 1 + in.below(40), dim = 1 + in.below(20), entries = in.below(30);
  auto indptr = pointers(in, rows, entries);
  auto ids = indices(in, entries, vocab);
  auto values = array<float>(entries), table = array<float>(vocab * dim), bias = array<float>(dim);
  auto out = array<float>(rows * dim);
  sound(es_bag_forward(rows, vocab, dim, entries, indptr.get(), ids.get(), values.get(), table.get(), bias.get(), out.get()));
  auto columns = array<uint32_t>(entries), row_of = array<uint32_t>(entries), scratch = array<uint32_t>(2 * entries);
  auto colptr = array<int32_t>(entries + 1);
  auto value_of = array<float>(entries);
  int32_t count = 0;
  int code = es_csr_transpose(rows, vocab, entries, indptr.get(), ids.get(), values.get(), columns.get(), colptr.get(),
                              row_of.get(), value_of.get(), scratch.get(), &count);
  sound(code);
  if (code != ES_OK) return;
  auto grad = array<float>(static_cast<int64_t>(count) * dim);
  sound(es_bag_backward(count, rows, dim, entries, colptr.get(), row_of.get(), value_of.get(), out.get(), grad.get()));
}

void pairs(Input &in) {
  int64_t count = in.below(20), labels = 1 + in.below(20), rows = 1 + in.below(6), dim = 1 + in.below(20);
  auto label = indices(in, count, labels), row = indices(in, count, rows);
  auto table = array<float>(labels * dim), x = array<float>(rows * dim), out = array<float>(count + rows * dim);
  auto coefficients = array<float>(count);
  sound(es_pair_dots(count, labels, rows, dim, label.get(), row.get(), table.get(), x.get(), out.get()));
  sound(es_pair_gather(count, labels, rows, dim, label.get(), row.get(), table.get(), coefficients.get(), x.get()));
  sound(es_pair_scatter(count, labels, rows, dim, label.get(), row.get(), table.get(), 0.5, coefficients.get(), x.get()));
}

void rows(Input &in) {
  int64_t count = in.below(20), dim = 1 + in.below(20), total = 1 + in.below(30);
  auto ids = indices(in, count, total);
  auto w = array<float>(total * dim), g = array<float>(count * dim);
  double rule[11] = {0, 0.1};
  sound(es_update_rows(count, dim, total, ids.get(), rule, w.get(), g.get(), nullptr, nullptr, 1));
}

// Columns of 2 or 4 bytes, weights of 4 or 2.
struct Columns {
  std::unique_ptr<uint16_t[]> narrow, short_weights;
  std::unique_ptr<uint32_t[]> wide;
  std::unique_ptr<float[]> weights;

  Columns(Input &in, int64_t count, int64_t range, int64_t numbers) {
    if (in.below(2)) narrow = array<uint16_t>(count);
    else wide = array<uint32_t>(count);
    for (int64_t i = 0; i < count; i++) {
      const uint32_t column = in.index(range);
      if (narrow) narrow[i] = static_cast<uint16_t>(column);
      else wide[i] = column;
    }
    if (in.below(2)) short_weights = array<uint16_t>(numbers);
    else weights = array<float>(numbers);
  }
  void *data() { return narrow ? static_cast<void *>(narrow.get()) : wide.get(); }
  int32_t bytes() const { return narrow ? 2 : 4; }
};

void fan_in(Input &in) {
  int64_t batch = 1 + in.below(9), inputs = 1 + in.below(70), labels = 1 + in.below(20), fan_in = 1 + in.below(9);
  if (fan_in > inputs) fan_in = inputs;
  int64_t k = 1 + in.below(labels), chunk = 1 + in.below(labels);
  Columns columns(in, labels * fan_in, inputs, labels * fan_in);
  auto h = array<float>(batch * inputs), bias = array<float>(labels);
  double length = 0;
  if (es_fan_in_top_k_workspace(batch, inputs, k, &length) != ES_OK) return;
  auto workspace = array<float>(static_cast<int64_t>(length));
  auto top = array<uint32_t>(batch * k);
  auto scores = array<float>(batch * k), logits = array<float>(batch * labels);
  double screen_length = 0;
  if (es_fan_in_screen_length(inputs, labels, fan_in, &screen_length) != ES_OK) return;
  std::unique_ptr<uint8_t[]> screen;
  if (screen_length > 0 && in.below(2)) {
    screen = array<uint8_t>(static_cast<int64_t>(screen_length));
    sound(es_fan_in_screen_build(inputs, labels, fan_in, columns.data(), columns.bytes(), columns.weights.get(), bias.get(),
                                 columns.short_weights.get(), screen.get()));
  }
  sound(es_fan_in_top_k(batch, inputs, labels, fan_in, k, h.get(), columns.data(), columns.bytes(), columns.weights.get(),
                        bias.get(), top.get(), scores.get(), workspace.get(), static_cast<int64_t>(length),
                        columns.short_weights.get(), screen.get()));
  sound(es_fan_in_logits(batch, inputs, labels, 0, labels, fan_in, h.get(), columns.data(), columns.bytes(),
                         columns.weights.get(), bias.get(), logits.get(), workspace.get(), static_cast<int64_t>(length),
                         columns.short_weights.get()));
  if (es_fan_in_index_length(inputs, labels, fan_in, chunk, &length) != ES_OK) return;
  auto index = array<uint16_t>(static_cast<int64_t>(length));
  sound(es_fan_in_index_build(inputs, labels, fan_in, chunk, 0, labels, columns.data(), columns.bytes(), index.get()));
}

void grouped(Input &in) {
  int64_t batch = 1 + in.below(9), inputs = 1 + in.below(70), labels = 1 + in.below(40), fan_in = 1 + in.below(9);
  if (fan_in > inputs) fan_in = inputs;
  int64_t size = 1 + in.below(9), groups = (labels + size - 1) / size, k = 1 + in.below(labels);
  Columns columns(in, groups * fan_in, inputs, labels * fan_in);
  auto starts = array<uint32_t>(groups + 1);
  for (int64_t g = 1; g <= groups; g++) starts[g] = static_cast<uint32_t>(g * size < labels ? g * size : labels);
  if (in.byte() > 200) starts[in.below(groups + 1)] = in.index(labels + 1);
  auto label_of = indices(in, labels, labels);
  auto h = array<float>(batch * inputs), bias = array<float>(labels);
  double length = 0;
  if (es_grouped_top_k_workspace(batch, inputs, fan_in, size, k, columns.short_weights != nullptr, &length) != ES_OK) return;
  auto workspace = array<float>(static_cast<int64_t>(length));
  auto top = array<uint32_t>(batch * k);
  auto scores = array<float>(batch * k);
  sound(es_grouped_top_k(batch, inputs, labels, k, h.get(), columns.weights.get(), bias.get(), groups, size, fan_in,
                         starts.get(), columns.data(), columns.bytes(), label_of.get(), top.get(),
                         scores.get(), workspace.get(), static_cast<int64_t>(length), columns.short_weights.get()));
}

void sparse(Input &in) {
  int64_t batch = 1 + in.below(5), inputs = 1 + in.below(40), rows = 1 + in.below(12), entries = in.below(40);
  auto indptr = pointers(in, rows, entries);
  auto ids = indices(in, entries, inputs);
  auto values = array<float>(entries), bias = array<float>(rows), x = array<float>(batch * inputs), y = array<float>(batch * rows);
  sound(es_sparse_dots(batch, inputs, rows, entries, indptr.get(), ids.get(), values.get(), bias.get(), 0, x.get(), y.get()));
}

void bsr(Input &in) {
  const int64_t blocks[] = {8, 16, 32};
  int64_t block = blocks[in.below(3)], rows = 1 + in.below(70), cols = 1 + in.below(70), n = 1 + in.below(10);
  int64_t block_rows = (rows + block - 1) / block, block_cols = (cols + block - 1) / block, entries = in.below(block_rows * block_cols + 1);
  auto columns = indices(in, entries, block_cols);
  auto signed_pointers = pointers(in, block_rows, entries);
  auto row_pointers = array<uint32_t>(block_rows + 1);
  for (int64_t i = 0; i <= block_rows; i++) row_pointers[i] = static_cast<uint32_t>(signed_pointers[i]);
  auto values = array<float>(entries * block * block), out = array<float>(rows * cols);
  sound(es_bsr_expand(rows, cols, block, entries, values.get(), columns.get(), row_pointers.get(), 0, rows, out.get()));
  for (int trans = 0; trans < 2; trans++) {
    auto b = array<float>((trans ? rows : cols) * n), c = array<float>((trans ? cols : rows) * n);
    sound(es_bsr_dense(trans, rows, cols, block, entries, values.get(), columns.get(), row_pointers.get(), n, b.get(), c.get(), 0));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Input in{data, size};
  es_set_isa(static_cast<int>(in.below(es_best_isa() + 1)));
  es_set_threads(1);
  void (*const targets[])(Input &) = {bags, pairs, rows, fan_in, grouped, sparse, bsr};
  targets[in.below(7)](in);
  return 0;
}

#ifdef ES_PLAIN_MUTATION
int main(int argc, char **argv) {
  long runs = argc > 1 ? atol(argv[1]) : 100000;
  uint64_t state = argc > 2 ? strtoull(argv[2], nullptr, 10) : 1;
  std::vector<uint8_t> input(512);
  for (long run = 0; run < runs; run++) {
    for (auto &byte : input) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      byte = static_cast<uint8_t>(state >> 56);
    }
    LLVMFuzzerTestOneInput(input.data(), state >> 40 & 511);
  }
  printf("%ld runs\n", runs);
}
#endif
