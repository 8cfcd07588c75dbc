#include "../isa.h"

namespace ES_NS {
namespace {

constexpr int DIGIT_BITS = 11;
constexpr uint32_t DIGITS = 1u << DIGIT_BITS;

}  // namespace

// A stable radix sort of the entries by column: rows stay ascending within a column, and no memory of the size
// of the vocabulary is touched.
int csr_transpose(int64_t rows, int64_t vocab, int64_t entries, const int32_t *indptr, const uint32_t *indices,
                  const float *values, uint32_t *columns, int32_t *colptr, uint32_t *row_of, float *value_of,
                  uint32_t *scratch, int32_t *count) {
  if (rows < 0 || vocab < 0 || vocab > INT64_C(0x100000000)) return ES_BAD_ARGUMENT;
  bool good = indptr[0] == 0 && indptr[rows] <= entries;
  for (int64_t r = 0; r < rows; r++) good &= indptr[r] <= indptr[r + 1];
  if (!good) return ES_INDEX_RANGE;
  int64_t nnz = indptr[rows];
  for (int64_t e = 0; e < nnz; e++) {
    if (indices[e] >= static_cast<uint64_t>(vocab)) return ES_INDEX_RANGE;
  }

  uint32_t *order = scratch, *sorted = scratch + nnz;
  for (int64_t e = 0; e < nnz; e++) order[e] = static_cast<uint32_t>(e);
  for (int shift = 0; shift < 32 && (vocab - 1) >> shift > 0; shift += DIGIT_BITS) {
    uint32_t start[DIGITS] = {};
    for (int64_t e = 0; e < nnz; e++) start[(indices[e] >> shift) & (DIGITS - 1)]++;
    uint32_t before = 0;
    for (uint32_t digit = 0; digit < DIGITS; digit++) {
      uint32_t here = start[digit];
      start[digit] = before;
      before += here;
    }
    for (int64_t t = 0; t < nnz; t++) {
      uint32_t e = order[t];
      sorted[start[(indices[e] >> shift) & (DIGITS - 1)]++] = e;
    }
    uint32_t *other = order;
    order = sorted;
    sorted = other;
  }

  // The spare half of scratch now holds the row of every entry.
  for (int64_t r = 0; r < rows; r++) {
    for (int32_t e = indptr[r]; e < indptr[r + 1]; e++) sorted[e] = static_cast<uint32_t>(r);
  }
  int32_t found = 0;
  colptr[0] = 0;
  for (int64_t t = 0; t < nnz; t++) {
    uint32_t e = order[t];
    row_of[t] = sorted[e];
    value_of[t] = values == nullptr ? 1.0f : values[e];
    if (found == 0 || columns[found - 1] != indices[e]) columns[found++] = indices[e];
    colptr[found] = static_cast<int32_t>(t + 1);
  }
  *count = found;
  return ES_OK;
}

}  // namespace ES_NS
