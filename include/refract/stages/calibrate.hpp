#pragma once
// Before chunk 0: a fixed sample of the first window's training contexts passes through the model
// once, and what is measured is frozen for the life of the store (SPEC 3).
//
//   plan      the sample, cut into parts: the same on every rank, for any number of them
//   sample    a rank runs its share of the parts through the model and keeps their rows
//   measure   hook after hook: each number is a sum, or a choice, over all ranks' rows
//
// A rank's memory is its share of the rows, one part of another rank's, its share of the
// covariances' tiles, and for each row of the whole sample one norm. Every sum is made in the order
// of the rows or of the parts, so the bytes depend neither on ranks nor on threads.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/stages/block_rows.hpp"
#include "refract/store/calibration.hpp"

namespace refract {

struct CalibrationConfig {
  std::uint64_t rows = 262144;        // rows measured, at most
  std::uint64_t max_tokens = 262144;  // tokens run through the model, at most
};

// Of the largest variance: `normalize: whiten` takes a smaller one for it. A product in fp32 loses
// digits by the root of what a whitening evens out, in training as in what reads an export: of 1e4
// an activation is within 1e-5 of the row's largest, of 1e5 within 3e-5.
inline constexpr double kCalibratedWhiteningFloor = 1e-5;

struct CalibrationPlan {
  std::vector<BlockPlan> parts;  // some contexts each; a rank computes one at a time
  std::uint64_t rows = 0, tokens = 0;
};
// Of the first window's training contexts, in an order drawn by the store's seed, until the next
// would exceed what is allowed. ConfigError when not one fits.
[[nodiscard]] CalibrationPlan plan_calibration(const CalibrationConfig& config, TokenCorpus& corpus,
                                               std::uint32_t window_shards, const RowRule& rule,
                                               std::uint64_t store_seed);

// What one rank keeps of the sample: the rows of its parts (share_of), in their order.
struct CalibrationShare {
  std::vector<std::size_t> part_rows;  // of each of its parts
  std::vector<std::uint8_t> special;   // [n]; not 0: BOS, padding or a special token
  std::vector<Tensor<float>> x;        // per hook [n, D]
};
// StopRequested, on every rank, once a stop was asked for on any.
[[nodiscard]] CalibrationShare collective_sample(const CalibrationPlan& plan,
                                                 const LanguageModel& model,
                                                 const std::vector<HookPoint>& hooks,
                                                 TokenCorpus& corpus, Communicator& ranks);

// One hook, from every rank's rows: x [n, D] with finite values, taken over; special [n]; part_rows
// as above, their sum n. The result is whole on rank 0; the others lack covariance and scales.
// On every rank: DataError when no row is ordinary; NumericalError, naming `hook`, when every
// included row is zero, or when they (more than one) vary by less than a millionth of their size:
// nothing to scale, or nothing to learn. StopRequested as above.
[[nodiscard]] HookCalibration collective_measure(const std::string& hook, Tensor<float> x,
                                                 std::span<const std::uint8_t> special,
                                                 std::span<const std::size_t> part_rows,
                                                 double sink_ratio, Communicator& ranks);

// Both, for all hooks. The result, on rank 0 alone (empty elsewhere), does not depend on the number
// of ranks; nothing is written here.
[[nodiscard]] CalibrationData collective_calibrate(const CalibrationPlan& plan,
                                                   const LanguageModel& model,
                                                   const std::vector<HookPoint>& hooks,
                                                   TokenCorpus& corpus, double sink_ratio,
                                                   Communicator& ranks);

}  // namespace refract
