#include "refract/ops/attention.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "ops/backend.hpp"
#include "ops/fast_exp.hpp"
#include "ops/fast_tanh.hpp"
#include "ops/gemm_kernel.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kQueryRows = 64;  // queries whose scores are held at once
constexpr std::size_t kLanes = 8;
// Keys that a window leaves out are left out in such steps: whole tiles of every kernel, so that
// sums begin at the same key with all of them.
constexpr std::size_t kKeyStep = 48;

// One head of one segment; row strides in floats.
struct Head {
  const float *q, *k, *v;
  float* out;
  std::size_t length, width, ld_qkv, ld_out;
  float scale;
  std::size_t window;
  float soft_cap;

  [[nodiscard]] std::size_t oldest_key(std::size_t query) const {
    return window == 0 || query < window ? 0 : query + 1 - window;
  }
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

REFRACT_SIMD_CLONES void cap_row(float* scores, std::size_t visible, float scale, float cap) {
  for (std::size_t i = 0; i < visible; ++i) scores[i] = cap * fast_tanh(scale * scores[i] / cap);
}

// Weights of keys [oldest, last] for one query, in place of their scores; the others become 0.
void weigh_row(const Head& head, float* scores, std::size_t oldest, std::size_t last,
               std::size_t keys) {
  const std::size_t visible = last + 1 - oldest;
  std::fill_n(scores, oldest, 0.0F);
  if (head.soft_cap > 0) cap_row(scores + oldest, visible, head.scale, head.soft_cap);
  softmax_row(scores + oldest, visible, keys - oldest, head.soft_cap > 0 ? 1.0F : head.scale);
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
    const std::size_t rows = std::min(kQueryRows, head.length - first);
    const std::size_t skipped = head.oldest_key(first) / kKeyStep * kKeyStep;
    const std::size_t keys = first + rows - skipped;
    float* scores = scratch.scores.data();
    multiply_panel({.x = head.q + first * head.ld_qkv,
                    .ld_x = head.ld_qkv,
                    .rows = rows,
                    .depth = head.width,
                    .packed = scratch.keys.data() + skipped * head.width,
                    .tile_depth = head.width,
                    .start = nullptr,
                    .y = scores,
                    .ld_y = keys,
                    .columns = keys});
    for (std::size_t query = first; query < first + rows; ++query)
      weigh_row(head, scores + (query - first) * keys, head.oldest_key(query) - skipped,
                query - skipped, keys);
    multiply_panel({.x = scores,
                    .ld_x = keys,
                    .rows = rows,
                    .depth = keys,
                    .packed = scratch.values.data() + skipped * tile,
                    .tile_depth = head.length,
                    .start = nullptr,
                    .y = head.out + first * head.ld_out,
                    .ld_y = head.ld_out,
                    .columns = head.width});
  }
}

}  // namespace

void causal_attention(TensorView<const float> qkv, std::span<const std::uint32_t> segment_starts,
                      const AttentionShape& shape, TensorView<float> out, Stream& stream) {
  expect_cpu(stream, "causal_attention");
  const std::size_t rows = out.axis(0), heads = shape.heads, kv_heads = shape.kv_heads,
                    width = shape.head_width, ld_qkv = (heads + 2 * kv_heads) * width;
  expect_shape(qkv, "qkv", {{"N", rows}, {"(H + 2 Hkv) Dh", ld_qkv}});
  expect_shape(out, "out", {{"N", rows}, {"H Dh", heads * width}});
  REFRACT_ASSERT(shape.scale > 0 && shape.soft_cap >= 0, "scale {} soft cap {}", shape.scale,
                 shape.soft_cap);
  REFRACT_ASSERT(kv_heads > 0 && heads % kv_heads == 0 && width > 0, "{} heads, {} of keys, of {}",
                 heads, kv_heads, width);
  REFRACT_ASSERT(!segment_starts.empty() && segment_starts.back() == rows,
                 "segments do not end at row {}", rows);
  parallel_for((segment_starts.size() - 1) * heads, [&](std::size_t task) {
    thread_local Scratch scratch;
    const std::size_t segment = task / heads, head = task % heads;
    const std::size_t first = segment_starts[segment];
    const float* row = qkv.data() + first * ld_qkv;
    const float* k = row + (heads + head / (heads / kv_heads)) * width;
    attend({.q = row + head * width,
            .k = k,
            .v = k + kv_heads * width,
            .out = out.data() + (first * heads + head) * width,
            .length = segment_starts[segment + 1] - first,
            .width = width,
            .ld_qkv = ld_qkv,
            .ld_out = heads * width,
            .scale = shape.scale,
            .window = shape.window,
            .soft_cap = shape.soft_cap},
           scratch);
  });
}

}  // namespace refract
