#pragma once
// What the gpu tests of a step's ops share: drawn values, entries by row on either device, and a
// comparison of bytes that counts.
#include <cstring>
#include <numeric>

#include "refract/base/random.hpp"
#include "support/gpu.hpp"
#include "support/row_entries.hpp"

namespace refract::test {

inline Tensor<float> normal_values(Shape shape, std::uint64_t seed) {
  Tensor<float> out(shape);
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<float>(rng.normal(i));
  return out;
}

// n rows that lie backwards, with a place of room before each: every 11th row has no entries; one
// feature of 7 is in most rows, one in none, the others are in one row of 16.
inline EntryLists drawn_entries(std::size_t n, std::size_t features, std::uint64_t seed) {
  std::vector<std::vector<std::uint32_t>> of_row(n);
  const CounterRng rng(Purpose::test, {seed, n, features});
  std::size_t places = 0;
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t f = 0; f < features && row % 11 != 3; ++f) {
      const double share = f % 7 == 0 ? 0.9 : f % 7 == 1 ? 0 : 1.0 / 16;
      if (rng.uniform(row * features + f) < share)
        of_row[row].push_back(static_cast<std::uint32_t>(f));
    }
    places += of_row[row].size() + 1;
  }
  EntryLists out;
  out.starts = Tensor<std::uint64_t>({n});
  out.used = Tensor<std::uint64_t>({1});
  out.counts = Tensor<std::uint32_t>({n});
  out.features = Tensor<std::uint32_t>({places});
  out.values = normal_values({places}, seed + 1);
  std::fill_n(out.features.data(), places, 0xFFFFFFFFU);  // the room holds no feature
  std::size_t at = 0;
  for (std::size_t row = n; row-- > 0;) {
    out.starts.data()[row] = ++at;
    out.counts.data()[row] = static_cast<std::uint32_t>(of_row[row].size());
    for (const std::uint32_t f : of_row[row]) out.features.data()[at++] = f;
  }
  out.used.data()[0] = at;
  return out;
}

inline std::size_t size_of(const EntryLists& entries) {
  return std::accumulate(entries.counts.span().begin(), entries.counts.span().end(),
                         std::size_t{0});
}

// Every third row is left out.
inline Tensor<std::uint8_t> drawn_flags(std::size_t n) {
  Tensor<std::uint8_t> out({n});
  for (std::size_t i = 0; i < n; ++i) out.data()[i] = i % 3 != 1 ? 1 : 0;
  return out;
}

// Returns how many values were compared.
template <typename T>
std::size_t expect_same_bytes(const T* found, const T* expected, std::size_t size,
                              std::string_view what) {
  for (std::size_t i = 0; i < size; ++i)
    if (std::memcmp(found + i, expected + i, sizeof(T)) != 0) {
      ADD_FAILURE() << what << "[" << i << "] of " << size << ": found " << found[i]
                    << ", expected " << expected[i];
      break;
    }
  return size;
}
template <typename T>
std::size_t expect_same_bytes(const Tensor<T>& found, const Tensor<T>& expected,
                              std::string_view what) {
  EXPECT_EQ(found.size(), expected.size()) << what;
  return expect_same_bytes(found.data(), expected.data(), expected.size(), what);
}

class EntriesOnGpu : public OnGpu {
 protected:
  using OnGpu::upload;
  EntryLists upload(const EntryLists& here) {
    EntryLists out;
    out.starts = upload(here.starts);
    out.used = upload(here.used);
    out.counts = upload(here.counts);
    out.features = upload(here.features);
    out.values = upload(here.values);
    return out;
  }

  Stream host;
};

}  // namespace refract::test
