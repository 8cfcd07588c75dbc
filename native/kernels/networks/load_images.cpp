#include "../isa.h"

namespace ES_NS {

// out[b, c, i, j] = scale[c] * pixel + shift[c], pixel taken at (i + dy, j + dx) of image ids[b], from the right when
// it is flipped; 0 beyond the edges. moves: dy, dx and flip of every image, or null.
int load_images(int64_t batch, int64_t rows, int64_t channels, int64_t height, int64_t width, const uint8_t *pixels,
                const uint32_t *ids, const int32_t *moves, const float *scale, const float *shift, float *out) {
  for (int64_t b = 0; b < batch; b++)
    if (static_cast<int64_t>(ids[b]) >= rows) return ES_INDEX_RANGE;
  int64_t plane = height * width;
  parallel_ranges(batch, 1 + 32768 / (channels * plane + 1), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      int64_t down = moves == nullptr ? 0 : moves[3 * b], right = moves == nullptr ? 0 : moves[3 * b + 1];
      bool flip = moves != nullptr && moves[3 * b + 2] != 0;
      for (int64_t c = 0; c < channels; c++) {
        const uint8_t *from = pixels + (static_cast<int64_t>(ids[b]) * channels + c) * plane;
        float *to = out + (b * channels + c) * plane;
        float a = scale[c], s = shift[c];
        for (int64_t i = 0; i < height; i++, to += width) {
          int64_t at = i + down;
          if (at < 0 || at >= height) {
            for (int64_t j = 0; j < width; j++) to[j] = s;
            continue;
          }
          const uint8_t *row = from + at * width;
          if (!flip && right == 0) {
            for (int64_t j = 0; j < width; j++) to[j] = a * static_cast<float>(row[j]) + s;
            continue;
          }
          for (int64_t j = 0; j < width; j++) {
            int64_t col = (flip ? width - 1 - j : j) + right;
            to[j] = col < 0 || col >= width ? s : a * static_cast<float>(row[col]) + s;
          }
        }
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
