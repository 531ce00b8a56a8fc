#pragma once
// Lists of entries for tests: as vectors, and as they lie on any device.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/ops/entries.hpp"

namespace refract::test {

template <typename T>
Tensor<T> copied_to(const Tensor<T>& from, Device device, Stream& stream) {
  Tensor<T> out(from.shape(), device);
  if (from.size() != 0)
    copy_bytes(reinterpret_cast<std::byte*>(out.data()), device,
               reinterpret_cast<const std::byte*>(from.data()), from.device(),
               from.size() * sizeof(T), stream);
  stream.synchronize();
  return out;
}
template <typename T>
Tensor<T> copied_to(const std::vector<T>& from, Device device, Stream& stream) {
  Tensor<T> host(Shape{from.size()});
  std::copy(from.begin(), from.end(), host.data());
  return copied_to(host, device, stream);
}
template <typename T>
std::vector<T> host_values(const Tensor<T>& from, Stream& stream) {
  const Tensor<T> host = copied_to(from, {}, stream);
  return {host.span().begin(), host.span().end()};
}

using EntryRow = std::vector<std::pair<std::uint32_t, float>>;  // feature, value

// RowEntries with their memory, unwritten where nothing was put.
struct EntryLists {
  EntryLists() = default;
  EntryLists(std::size_t n, std::size_t per, std::size_t capacity, Device device, Stream& stream)
      : per_row(per),
        starts(copied_to(starts_of(n, per), device, stream)),
        used(copied_to(std::vector<std::uint64_t>{0}, device, stream)),
        counts(Shape{n}, device),
        features(Shape{per > 0 ? n * per : capacity}, device),
        values(features.shape(), device) {}
  [[nodiscard]] RowEntries view() const {
    return {starts.view(), counts.view(), features.view(), values.view(), used.view(), per_row};
  }
  std::size_t per_row = 0;
  Tensor<std::uint64_t> starts, used;
  Tensor<std::uint32_t> counts, features;
  Tensor<float> values;

 private:
  static std::vector<std::uint64_t> starts_of(std::size_t n, std::size_t per) {
    std::vector<std::uint64_t> out(n);
    for (std::size_t row = 0; row < n; ++row) out[row] = row * per;
    return out;
  }
};

// Without per_row the rows lie in descending order, a place unused between any two.
inline EntryLists entry_lists(const std::vector<EntryRow>& rows, std::size_t per_row, Device device,
                              Stream& stream) {
  const std::size_t n = rows.size();
  std::size_t capacity = 0;
  for (const EntryRow& row : rows) capacity += row.size() + 1;
  Stream cpu;
  EntryLists host(n, per_row, capacity, {}, cpu);
  std::size_t at = 0;
  for (std::size_t row = n; row-- > 0;) {
    if (per_row > 0) at = row * per_row;
    host.starts.data()[row] = at;
    host.counts.data()[row] = static_cast<std::uint32_t>(rows[row].size());
    for (const auto& [feature, value] : rows[row]) {
      host.features.data()[at] = feature;
      host.values.data()[at++] = value;
    }
    ++at;
  }
  host.used.data()[0] = capacity;
  EntryLists out;
  out.per_row = per_row;
  out.starts = copied_to(host.starts, device, stream);
  out.used = copied_to(host.used, device, stream);
  out.counts = copied_to(host.counts, device, stream);
  out.features = copied_to(host.features, device, stream);
  out.values = copied_to(host.values, device, stream);
  return out;
}

inline std::vector<EntryRow> rows_of(const EntryLists& lists, Stream& stream) {
  const std::vector<std::uint64_t> starts = host_values(lists.starts, stream);
  const std::vector<std::uint32_t> counts = host_values(lists.counts, stream),
                                   features = host_values(lists.features, stream);
  const std::vector<float> values = host_values(lists.values, stream);
  std::vector<EntryRow> rows(counts.size());
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (std::uint64_t j = starts[row]; j < starts[row] + counts[row]; ++j)
      rows[row].emplace_back(features.at(j), values.at(j));
  return rows;
}

// Features, values to the bit, and their order; returns how many were compared.
inline std::size_t expect_same_rows(const std::vector<EntryRow>& found,
                                    const std::vector<EntryRow>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  std::size_t compared = 0;
  for (std::size_t row = 0; row < std::min(found.size(), expected.size()); ++row) {
    EXPECT_EQ(found[row], expected[row]) << "row " << row;
    compared += expected[row].size();
  }
  return compared;
}

template <typename T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Features ascending, each with the given probability.
inline std::vector<EntryRow> random_rows(std::size_t n, std::size_t features, double probability,
                                         std::uint64_t seed) {
  std::vector<EntryRow> rows(n);
  const CounterRng chosen(Purpose::test, {seed, 1}), size(Purpose::test, {seed, 2});
  for (std::size_t i = 0; i < n * features; ++i)
    if (chosen.uniform(i) < probability)
      rows[i / features].emplace_back(static_cast<std::uint32_t>(i % features),
                                      static_cast<float>(std::abs(size.normal(i)) + 0.01));
  return rows;
}

}  // namespace refract::test
