#include "refract/stages/decoder_geometry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/stages/baselines.hpp"

namespace refract {
namespace {

// Rows whose nearest neighbours are gathered at once: memory is 8 bytes times it for each rank.
constexpr std::size_t kRowsAtATime = 65536;

void collective_merge(CosineTally& tally, Communicator& ranks) {
  tally.histogram.push_back(tally.near_duplicates);
  ranks.all_reduce_sum(std::span(tally.histogram));
  tally.near_duplicates = tally.histogram.back();
  tally.histogram.pop_back();
  tally.strongest = merge_strongest(ranks.all_gather(std::span<const CosinePair>(tally.strongest)));
  for (std::size_t first = 0; first < tally.nearest.size(); first += kRowsAtATime) {
    const auto mine = std::span(tally.nearest)
                          .subspan(first, std::min(kRowsAtATime, tally.nearest.size() - first));
    const std::vector<std::uint64_t> all = ranks.all_gather(std::span<const std::uint64_t>(mine));
    for (std::size_t i = 0; i < all.size(); ++i)
      mine[i % mine.size()] = std::max(mine[i % mine.size()], all[i]);
  }
}

}  // namespace

DecoderGeometry collective_decoder_geometry(std::string_view of, TensorView<const float> W_dec,
                                            SharedStop& stop, Communicator& ranks) {
  const UnitRows rows(of, W_dec);
  const Share mine = share_of(DecoderCosines::tile_pairs(rows.live()), ranks.rank(), ranks.size());
  DecoderCosines cosines(rows);
  stop.collective([&] {
    const std::string doing = fmt::format("{}: decoder cosines", of);
    working(doing);
    Progress progress(doing, mine.count, "tiles", ranks.rank() != 0);
    for (std::uint64_t pair = mine.first; pair < mine.first + mine.count; ++pair) {
      stop.poll();
      cosines.add(pair);
      progress.advance(1);
    }
  });
  CosineTally tally = cosines.tally();
  collective_merge(tally, ranks);
  return decoder_geometry(rows, tally);
}

// Directions do not depend on k, d_in or b_dec.
Tensor<float> random_decoder(const SaeConfig& sae, std::size_t d_out) {
  return std::move(random_control(sae, 1, d_out, std::vector<float>(d_out)).parameters.W_dec);
}

}  // namespace refract
