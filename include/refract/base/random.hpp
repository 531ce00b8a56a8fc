#pragma once
// Counter-based randomness (Philox4x32-10, Salmon et al., SC'11): a draw is a function of (key,
// index) alone, so results never depend on ranks, threads or how far a stream was read before.
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace refract {

// What a stream is for; part of its key, so that two purposes with the same seed are independent.
enum class Purpose : std::uint64_t {
  window_order = 1,
  block_order = 2,
  slice_order = 3,
  calibration = 4,
  initialisation = 5,
  random_rows = 6,
  bootstrap = 7,
  random_control = 8,
  negatives = 9,
  resample = 10,
  baselines = 12,
  planted = 20,
  test = 99
};

class CounterRng {
 public:
  // The key is a hash of (purpose, parts...), e.g. CounterRng(Purpose::block_order, {seed, chunk,
  // block}).
  CounterRng(Purpose purpose, std::initializer_list<std::uint64_t> parts);

  [[nodiscard]] std::uint64_t bits(std::uint64_t index) const;  // 64 uniform bits
  [[nodiscard]] std::uint64_t below(std::uint64_t index,
                                    std::uint64_t bound) const;  // uniform in [0, bound)
  [[nodiscard]] double uniform(std::uint64_t index) const;       // [0, 1)
  [[nodiscard]] double normal(std::uint64_t index) const;        // mean 0, variance 1

 private:
  std::uint64_t key_;
};

// A uniform permutation of 0..n-1: Fisher-Yates from the top, swap i drawn with rng.below(i, i +
// 1).
[[nodiscard]] std::vector<std::uint32_t> permutation(std::uint32_t n, const CounterRng& rng);

}  // namespace refract
