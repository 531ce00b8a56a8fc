#include "refract/store/window.hpp"

#include <gtest/gtest.h>

#include <tuple>

#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

// Contexts 10, 11, ... of 1, 2, 3, 1, 2, 3, ... rows.
WindowData window_of(std::size_t contexts) {
  WindowData data;
  std::uint64_t rows = 0;
  for (std::size_t c = 0; c < contexts; ++c) {
    rows += 1 + c % 3;
    data.contexts.push_back(10 + c);
    data.row_ends.push_back(rows);
  }
  return data;
}

TEST(Window, gives_back_the_context_of_every_row_wherever_a_slice_begins_and_ends) {
  const ScratchFolder folder;
  const WindowData data = window_of(11);
  (void)write_window(folder / "w.h5", data, 4, {{"contexts", "c"}});

  const Window window(folder / "w.h5", {{"contexts", "c"}});

  EXPECT_EQ(window.window(), 4u);
  ASSERT_EQ(window.rows(), 21u);
  std::size_t compared = 0;
  for (std::uint64_t first = 0; first <= 21; ++first)
    for (std::uint64_t count = 0; first + count <= 21; ++count) {
      std::uint64_t row = first;
      for (const ContextPart& part : window.parts(first, count))
        for (std::uint32_t i = 0; i < part.count; ++i, ++row, ++compared) {
          const std::uint64_t context = part.context - 10;
          const std::uint64_t start = context == 0 ? 0 : data.row_ends[context - 1];
          EXPECT_EQ(start + part.first + i, row);
          EXPECT_LT(row, data.row_ends[context]);
        }
      EXPECT_EQ(row, first + count);
    }
  EXPECT_EQ(compared, 1771u);
}

TEST(Window, may_be_empty) {
  const ScratchFolder folder;
  (void)write_window(folder / "w.h5", {}, 0, {});

  EXPECT_EQ(Window(folder / "w.h5").rows(), 0u);
  EXPECT_TRUE(Window(folder / "w.h5").parts(0, 0).empty());
}

TEST(Window, is_never_read_with_a_flipped_byte) {
  const ScratchFolder folder;
  (void)write_window(folder / "w.h5", window_of(5), 1, {{"contexts", "c"}});

  const std::string missed = test::flips_not_found(folder / "w.h5", 1, [&] {
    const Window window(folder / "w.h5", {}, TableFile::Checks::whole_file);
    std::vector<std::uint64_t> contexts;
    for (const ContextPart& part : window.parts(0, window.rows())) contexts.push_back(part.context);
    return std::tuple(window.window(), window.rows(), contexts);
  });

  EXPECT_EQ(missed, "");
}

TEST(Window, whose_numbers_contradict_each_other_is_damaged) {
  const ScratchFolder folder;
  WindowData data = window_of(5);
  data.row_ends[2] = 1;  // behind the one before
  (void)write_window(folder / "w.h5", data, 0, {});

  expect_contains(data_error([&] { (void)Window(folder / "w.h5").parts(0, data.rows()); }),
                  "do not ascend");
}

TEST(Window, refuses_the_order_of_other_contexts) {
  const ScratchFolder folder;
  (void)write_window(folder / "w.h5", window_of(2), 0, {{"contexts", "c"}});

  expect_contains(data_error([&] {
                    Window(folder / "w.h5", {{"contexts", "d"}});
                  }),
                  "parent contexts is c");
}

}  // namespace
}  // namespace refract
