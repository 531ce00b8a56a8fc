#pragma once
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/metrics/drift.hpp"
#include "refract/sae/export.hpp"

namespace refract {

inline constexpr std::size_t kDriftCheckpoints = 8;  // compared with, at most

// Of directions as they are exported, in raw units. Rounding them to bf16 turns none by more than
// 1e-5 in its cosine.
struct CheckpointDrift {
  RowDrift decoder, encoder;  // rows of W_dec, of W_enc
  double b_dec_cosine = 0;
  friend bool operator==(const CheckpointDrift&, const CheckpointDrift&) = default;
};

// Collective. How far `now`, a whole export on the host, is from each of the kept checkpoints of
// its training (SAELens folders, at most kDriftCheckpoints), in their order; the same on every
// rank. Each folder is read by one rank. of: "SAE 'small'". DataError naming the file, also where
// an SAE of another shape is in it; StopRequested on every rank once a stop was asked for on any.
[[nodiscard]] std::vector<CheckpointDrift> collective_drift(
    std::string_view of, const SaeExport& now, std::span<const std::filesystem::path> folders,
    SharedStop& stop, Communicator& ranks);

}  // namespace refract
