// The gradient to the hidden vectors of one chunk, by the backward index: dhT[j, :] += sum over slots of input j.
#pragma once

#include "block.h"
#include "index.h"

namespace ES_NS {
namespace {

// G: [labels of the chunk][NV * W]; w: the chunk's weights. A row of dhT stays in registers for all its slots.
template <int NV>
inline void gather_hidden(const IndexShape &shape, const uint16_t *record, const float *w, const float *G, float *dhT) {
  // slot / fanIn by multiplication, exact for slots and fan-ins below 2^16.
  const uint64_t inverse = ((1ull << 32) + static_cast<uint64_t>(shape.fan_in) - 1) / static_cast<uint64_t>(shape.fan_in);
  const uint16_t *feature = record + shape.features_at, *slot = record + shape.slots_at;
  for (uint32_t group = 0; group < record[0]; group++) {
    uint32_t count = record[2 + 2 * group], features = record[3 + 2 * group];
    for (uint32_t i = 0; i < features; i++) {
      float *row = row_of<NV>(dhT, *feature++);
      F sum[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[v] = load(row + v * W);
      for (uint32_t j = 0; j < count; j++) {
        uint32_t s = *slot++;
        F x = set(w[s]);
        const float *g = row_of<NV>(G, static_cast<uint32_t>((s * inverse) >> 32));
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) sum[v] = fma(x, load(g + v * W), sum[v]);
      }
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) store(row + v * W, sum[v]);
    }
  }
}

}  // namespace
}  // namespace ES_NS
