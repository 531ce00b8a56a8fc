#include "refract/base/random.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "refract/base/digest.hpp"

namespace refract {
namespace {

struct Product {
  std::uint32_t high, low;
};
Product multiply(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t product = std::uint64_t{a} * b;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}

// Philox4x32-10 with the counter (index, 0) and the 64-bit key; the first two of its four words.
std::uint64_t philox(std::uint64_t key, std::uint64_t index) {
  std::array<std::uint32_t, 4> x{static_cast<std::uint32_t>(index),
                                 static_cast<std::uint32_t>(index >> 32), 0, 0};
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product a = multiply(0xD2511F53u, x[0]), b = multiply(0xCD9E8D57u, x[2]);
    x = {b.high ^ x[1] ^ k0, b.low, a.high ^ x[3] ^ k1, a.low};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (std::uint64_t{x[1]} << 32) | x[0];
}

}  // namespace

CounterRng::CounterRng(Purpose purpose, std::initializer_list<std::uint64_t> parts) {
  std::vector<std::uint64_t> words{static_cast<std::uint64_t>(purpose)};
  words.insert(words.end(), parts);
  key_ = xxh3(std::as_bytes(std::span<const std::uint64_t>(words)));
}

std::uint64_t CounterRng::bits(std::uint64_t index) const { return philox(key_, index); }

std::uint64_t CounterRng::below(std::uint64_t index, std::uint64_t bound) const {
  // The high word of a 64x64 product; its bias is below bound / 2^64.
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits(index)) * bound) >> 64);
}

double CounterRng::uniform(std::uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1p-53;
}

double CounterRng::normal(std::uint64_t index) const {
  const double u = 1.0 - uniform(2 * index), v = uniform(2 * index + 1);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

std::vector<std::uint32_t> permutation(std::uint32_t n, const CounterRng& rng) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (std::uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i - 1, i)]);
  return order;
}

}  // namespace refract
