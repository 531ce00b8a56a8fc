#pragma once
// A chunk file of two hooks, for tests of what reads several at once. Row 1 is BOS, row 3 a sink of
// the first hook, row 4 one of the second.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/store/chunk.hpp"

namespace refract::test {

inline constexpr std::size_t kTwoHooksRows = 6;

inline float two_hooks_value(std::size_t hook, std::size_t row, std::size_t d) {
  return static_cast<float>(100 * hook + 10 * row + d);
}

// `spec` names the two hooks; its rows and blocks are set here. One file of that name at a time.
inline std::filesystem::path written_two_hooks(const std::string& name, ChunkSpec spec) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::filesystem::remove(path);
  spec.rows = spec.block_rows = kTwoHooksRows;
  Communicator one = Communicator::loopback();
  ChunkWriter writer = ChunkWriter::collective_open(path, spec, one);
  RowIdentity identity;
  identity.resize(kTwoHooksRows);
  identity.excluded[1] = kExcludedBos;
  std::vector<std::vector<float>> values(2);
  std::vector<std::vector<std::uint8_t>> sinks(2, std::vector<std::uint8_t>(kTwoHooksRows));
  sinks[0][3] = sinks[1][4] = kExcludedSink;
  std::vector<HookRows> rows;
  for (std::size_t hook = 0; hook < 2; ++hook) {
    for (std::size_t row = 0; row < kTwoHooksRows; ++row)
      for (std::size_t d = 0; d < spec.hooks[hook].d_in; ++d)
        values[hook].push_back(two_hooks_value(hook, row, d));
    rows.push_back({values[hook], sinks[hook]});
  }
  (void)writer.write_block(0, identity, rows);
  (void)writer.collective_seal();
  return path;
}

}  // namespace refract::test
