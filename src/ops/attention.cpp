#include "refract/ops/attention.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "ops/backend.hpp"
#include "ops/fast_exp.hpp"
#include "ops/gemm_kernel.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kQueryRows = 64;  // queries whose scores are held at once
constexpr std::size_t kLanes = 8;

// One head of one segment; row strides in floats.
struct Head {
  const float *q, *k, *v;
  float* out;
  std::size_t length, width, ld_qkv, ld_out;
  float scale;
};

// Softmax of scale * scores[0 .. visible), in place; what lies behind, up to `keys`, becomes 0.
REFRACT_SIMD_CLONES void softmax_row(float* scores, std::size_t visible, std::size_t keys,
                                     float scale) {
  // scale is positive, so the largest raw score is the largest scaled one.
  std::array<float, kLanes> tops;
  tops.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= visible; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j)
      tops[j] = scores[i + j] > tops[j] ? scores[i + j] : tops[j];
  }
  for (; i < visible; ++i) tops[0] = scores[i] > tops[0] ? scores[i] : tops[0];
  float largest = tops[0];
  for (const float top : tops) largest = top > largest ? top : largest;

  std::array<float, kLanes> lanes{};
  i = 0;
  for (; i + kLanes <= visible; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      scores[i + j] = fast_exp(scale * (scores[i + j] - largest));
      lanes[j] += scores[i + j];
    }
  }
  for (; i < visible; ++i) {
    scores[i] = fast_exp(scale * (scores[i] - largest));
    lanes[0] += scores[i];
  }
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  const float inverse = 1.0F / sum;
  for (i = 0; i < visible; ++i) scores[i] *= inverse;
  for (; i < keys; ++i) scores[i] = 0.0F;
}

// Reused between heads by the thread that owns it.
struct Scratch {
  std::vector<float> keys;    // [key tiles, Dh, tile]
  std::vector<float> values;  // [width tiles, T, tile]
  std::vector<float> scores;  // [kQueryRows, T]
};

void attend(const Head& head, Scratch& scratch) {
  const std::size_t tile = gemm_kernel().tile_columns;
  const std::size_t key_tiles = tiles_for(head.length), width_tiles = tiles_for(head.width);
  scratch.keys.resize(key_tiles * head.width * tile);
  scratch.values.resize(width_tiles * head.length * tile);
  scratch.scores.resize(kQueryRows * head.length);
  for (std::size_t t = 0; t < key_tiles; ++t) {
    const std::size_t first = t * tile;
    pack_tile(head.k + first * head.ld_qkv, head.ld_qkv, 1, std::min(tile, head.length - first),
              head.width, scratch.keys.data() + first * head.width);
  }
  for (std::size_t t = 0; t < width_tiles; ++t) {
    const std::size_t first = t * tile;
    pack_tile(head.v + first, 1, head.ld_qkv, std::min(tile, head.width - first), head.length,
              scratch.values.data() + first * head.length);
  }

  for (std::size_t first = 0; first < head.length; first += kQueryRows) {
    const std::size_t rows = std::min(kQueryRows, head.length - first), keys = first + rows;
    float* scores = scratch.scores.data();
    multiply_panel({.x = head.q + first * head.ld_qkv,
                    .ld_x = head.ld_qkv,
                    .rows = rows,
                    .depth = head.width,
                    .packed = scratch.keys.data(),
                    .tile_depth = head.width,
                    .start = nullptr,
                    .y = scores,
                    .ld_y = keys,
                    .columns = keys});
    for (std::size_t i = 0; i < rows; ++i)
      softmax_row(scores + i * keys, first + i + 1, keys, head.scale);
    multiply_panel({.x = scores,
                    .ld_x = keys,
                    .rows = rows,
                    .depth = keys,
                    .packed = scratch.values.data(),
                    .tile_depth = head.length,
                    .start = nullptr,
                    .y = head.out + first * head.ld_out,
                    .ld_y = head.ld_out,
                    .columns = head.width});
  }
}

}  // namespace

void causal_attention(TensorView<const float> qkv, std::span<const std::uint32_t> segment_starts,
                      std::size_t heads, float scale, TensorView<float> out, Stream& stream) {
  expect_cpu(stream, "causal_attention");
  const std::size_t rows = out.axis(0), width = out.axis(1);
  expect_shape(qkv, "qkv", {{"N", rows}, {"3 H Dh", 3 * width}});
  REFRACT_ASSERT(scale > 0 && heads > 0 && width % heads == 0, "scale {} heads {} width {}", scale,
                 heads, width);
  REFRACT_ASSERT(!segment_starts.empty() && segment_starts.back() == rows,
                 "segments do not end at row {}", rows);
  const std::size_t head_width = width / heads;
  parallel_for((segment_starts.size() - 1) * heads, [&](std::size_t task) {
    thread_local Scratch scratch;
    const std::size_t segment = task / heads, head = task % heads;
    const std::size_t first = segment_starts[segment];
    const float* q = qkv.data() + first * 3 * width + head * head_width;
    attend({.q = q,
            .k = q + width,
            .v = q + 2 * width,
            .out = out.data() + first * width + head * head_width,
            .length = segment_starts[segment + 1] - first,
            .width = head_width,
            .ld_qkv = 3 * width,
            .ld_out = width,
            .scale = scale},
           scratch);
  });
}

}  // namespace refract
