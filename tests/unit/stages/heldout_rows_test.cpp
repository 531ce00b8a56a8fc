#include "refract/stages/heldout_rows.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/two_hooks.hpp"

namespace refract {
namespace {

const std::string kInput = "blocks.0.ln2.hook_normalized", kTarget = "blocks.0.hook_mlp_out";
constexpr std::size_t kRows = test::kTwoHooksRows;

std::filesystem::path written_rows() {
  ChunkSpec spec;
  spec.permuted = false;
  spec.hooks = {{kInput, 3}, {kTarget, 2}};
  return test::written_two_hooks("refract_heldout_rows.h5", spec);
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
  EXPECT_EQ(piece.x.row(5)[1], test::two_hooks_value(1, 5, 1));
  ASSERT_EQ(piece.read().shape(), (Shape{kRows, 3}));
  EXPECT_EQ(piece.read().row(5)[2], test::two_hooks_value(0, 5, 2));
}

}  // namespace
}  // namespace refract
