#include "refract/stages/drift.hpp"

#include <fmt/format.h>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

CheckpointDrift drift_since(std::string_view of, const SaelensWeights& now,
                            const fs::path& folder) {
  const SaelensWeights earlier = read_saelens_weights(folder);
  if (!(earlier.W_dec.shape() == now.W_dec.shape() && earlier.W_enc.shape() == now.W_enc.shape()))
    throw DataError(
        "'{}' holds an SAE of {} features in {} dimensions, but {} has {} in {}. It is of another "
        "training: remove the folder.",
        folder.string(), earlier.W_dec.axis(0), earlier.W_dec.axis(1), of, now.W_dec.axis(0),
        now.W_dec.axis(1));
  const auto named = [&](const char* tensor) {
    return fmt::format("{}, {} since {}", of, tensor, folder.filename().string());
  };
  return {.decoder = row_drift(named("W_dec"), now.W_dec.cview(), earlier.W_dec.cview()),
          .encoder = row_drift(named("W_enc"), now.W_enc.cview(), earlier.W_enc.cview()),
          .b_dec_cosine = cosine(named("b_dec"), now.b_dec.span(), earlier.b_dec.span())};
}

}  // namespace

std::vector<CheckpointDrift> collective_drift(std::string_view of, const SaeExport& now,
                                              std::span<const fs::path> folders, SharedStop& stop,
                                              Communicator& ranks) {
  REFRACT_ASSERT(folders.size() <= kDriftCheckpoints, "{} folders", folders.size());
  const auto rank = static_cast<std::size_t>(ranks.rank()),
             size = static_cast<std::size_t>(ranks.size());
  std::vector<CheckpointDrift> mine;
  stop.collective([&] {
    if (rank >= folders.size()) return;
    const SaelensWeights weights = folded_weights(now);
    for (std::size_t i = rank; i < folders.size(); i += size) {
      stop.poll();
      working(fmt::format("{}: drift since {}", of, folders[i].filename().string()));
      mine.push_back(drift_since(of, weights, folders[i]));
    }
  });
  const std::vector<CheckpointDrift> all = ranks.all_gather(std::span<const CheckpointDrift>(mine));
  // Rank r brought those of folders r, r + size, ...
  std::vector<CheckpointDrift> out(folders.size());
  std::size_t at = 0;
  for (std::size_t r = 0; r < size; ++r)
    for (std::size_t i = r; i < folders.size(); i += size) out[i] = all.at(at++);
  return out;
}

}  // namespace refract
