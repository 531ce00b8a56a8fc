#pragma once
// What an SAE reads, and what it reconstructs: the activations of some hooks, one behind the other
// in a row, each normalised by its own calibration, so that none outweighs another by the mere size
// of its activations: under sqrt_d each part has the mean norm sqrt(its width), and so the whole
// one of about sqrt(its width), as that of a single hook has.
// A row that one of the hooks excludes (a sink there) takes part in nothing.
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "refract/sae/config.hpp"
#include "refract/sae/normaliser.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct NormalisedHook {
  std::string hook;
  std::uint64_t width = 0;
  std::string normalize = "none";
  SharedNormaliser normaliser = scaling(1);  // follows from hook and normalize, of one calibration

  [[nodiscard]] auto key() const { return std::tie(hook, normalize); }
};

[[nodiscard]] std::size_t width_of(const std::vector<NormalisedHook>& parts);

struct NormalisedHooks {
  std::vector<NormalisedHook> parts;  // in the order of the row
  // [D] normalised, of each part behind that of the one before. The geometric median of the parts,
  // not of the whole: what b_dec starts from needs no more, and parts are calibrated once for all
  // SAEs.
  std::vector<float> mean, geometric_median;

  [[nodiscard]] std::size_t width() const;  // D
};

// The ways from raw rows to what an SAE sees, and back: of what it reads, and of what it
// reconstructs.
struct SaeSpaces {
  SharedNormaliser input = scaling(1), target = scaling(1);
};
// Of an SAE that reads one hook.
[[nodiscard]] SaeSpaces spaces_of(const NormalisedHooks& input, const NormalisedHooks& target);

// DataError where the calibration lacks a hook; else as make_normaliser.
[[nodiscard]] NormalisedHooks normalised_input(const SaeConfig& config,
                                               const CalibrationData& calibration);
[[nodiscard]] NormalisedHooks normalised_target(const SaeConfig& config,
                                                const CalibrationData& calibration);

// What b_dec begins as: SaeConfig::b_dec of the target's rows [D_out].
[[nodiscard]] std::vector<float> first_b_dec(const SaeConfig& config,
                                             const NormalisedHooks& target);

// Rows of a chunk at some hooks, on the host, as an SAE sees them. Borrows the hooks.
class NormalisedReader {
 public:
  explicit NormalisedReader(const std::vector<NormalisedHook>& parts);
  // Rows [first, first + count), [count, D] f32.
  [[nodiscard]] Tensor<float> read(const ChunkReader& chunk, std::uint64_t first,
                                   std::uint64_t count);

 private:
  const std::vector<NormalisedHook>& parts_;
  std::vector<std::unique_ptr<RowNormaliser>> normalisers_;
};

// [count]: 1 where the row takes part in nothing.
[[nodiscard]] std::vector<std::uint8_t> read_excluded(const ChunkReader& chunk,
                                                      const std::vector<NormalisedHook>& parts,
                                                      std::uint64_t first, std::uint64_t count);

}  // namespace refract
