#include "refract/stages/heldout_rows.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "refract/comm/communicator.hpp"

namespace refract {
namespace {

const std::string kInput = "blocks.0.ln2.hook_normalized", kTarget = "blocks.0.hook_mlp_out";
constexpr std::size_t kRows = 6;

float value(std::size_t hook, std::size_t row, std::size_t d) {
  return static_cast<float>(100 * hook + 10 * row + d);
}

// One document. Row 1 is BOS, row 3 a sink of the input, row 4 one of the target.
std::filesystem::path written_rows() {
  const auto path = std::filesystem::path(testing::TempDir()) / "refract_heldout_rows.h5";
  std::filesystem::remove(path);
  ChunkSpec spec;
  spec.permuted = false;
  spec.rows = spec.block_rows = kRows;
  spec.hooks = {{kInput, 3}, {kTarget, 2}};
  Communicator one = Communicator::loopback();
  ChunkWriter writer = ChunkWriter::collective_open(path, spec, one);
  RowIdentity identity;
  identity.resize(kRows);
  identity.excluded[1] = kExcludedBos;
  std::vector<std::vector<float>> values(2);
  std::vector<std::vector<std::uint8_t>> sinks(2, std::vector<std::uint8_t>(kRows));
  sinks[0][3] = sinks[1][4] = kExcludedSink;
  std::vector<HookRows> rows;
  for (std::size_t hook = 0; hook < 2; ++hook) {
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t d = 0; d < spec.hooks[hook].d_in; ++d)
        values[hook].push_back(value(hook, row, d));
    rows.push_back({values[hook], sinks[hook]});
  }
  (void)writer.write_block(0, identity, rows);
  (void)writer.collective_seal();
  return path;
}

RowPiece piece_of(const HeldoutRows& rows) {
  RowPiece found;
  rows.for_each_piece({0, kRows}, false, {}, nullptr, [&](const RowPiece& piece) {
    found.included = piece.included;
    found.counted = piece.counted;
    found.x = Tensor<float>(piece.x.shape());
    std::ranges::copy(piece.x.span(), found.x.data());
    found.input = Tensor<float>(piece.input.shape());
    std::ranges::copy(piece.input.span(), found.input.data());
  });
  return found;
}

using Flags = std::vector<std::uint8_t>;

TEST(HeldoutRows, of_one_hook_are_read_and_reconstructed) {
  const ChunkReader file(written_rows());

  const RowPiece piece = piece_of(HeldoutRows(file, kTarget, 0, kTarget));

  EXPECT_EQ(piece.included, (Flags{1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(piece.input.size(), 0U);
  EXPECT_EQ(piece.read().data(), piece.x.data());
  EXPECT_EQ(piece_of(HeldoutRows(file, kTarget, 0)).included, piece.included);
}

TEST(HeldoutRows, of_two_hooks_take_part_where_both_include_them) {
  const ChunkReader file(written_rows());

  const RowPiece piece = piece_of(HeldoutRows(file, kTarget, 0, kInput));

  EXPECT_EQ(piece.included, (Flags{1, 0, 1, 0, 0, 1}));
  EXPECT_EQ(piece.counted, piece.included);
  EXPECT_EQ(piece.x.shape(), (Shape{kRows, 2}));
  EXPECT_EQ(piece.x.row(5)[1], value(1, 5, 1));
  ASSERT_EQ(piece.read().shape(), (Shape{kRows, 3}));
  EXPECT_EQ(piece.read().row(5)[2], value(0, 5, 2));
}

}  // namespace
}  // namespace refract
