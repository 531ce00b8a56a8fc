#include "refract/base/written_file.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "refract/base/background_work.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

fs::path fresh(const char* name) {
  const fs::path file = fs::path(::testing::TempDir()) / name;
  fs::remove(file);
  return file;
}

// Longer than a piece, and no multiple of one.
std::string long_text() {
  std::string text;
  for (int i = 0; text.size() < 1'000'003; ++i) text += std::to_string(i);
  return text;
}

TEST(WrittenFile, says_what_was_handed_over) {
  const std::string text = long_text();
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  FileWriter file(fresh("written_a"), text.size());
  file.write(7, bytes.subspan(7));
  file.write(0, bytes.first(7));

  const WrittenFile written = file.close();

  EXPECT_EQ(read_file(written.path), text);
  EXPECT_EQ(written.bytes, text.size());
  ASSERT_EQ(written.pieces.size(), 2U);
  EXPECT_EQ(written.pieces[0].checksum, xxh3(bytes.subspan(7)));
}

// Columns of a matrix of bytes: rows of 10, of which one writer has the first four.
TEST(WrittenFile, may_have_several_writers_who_settle_each_what_they_wrote) {
  const fs::path path = fresh("written_f");
  const std::string left(12, 'a'), right(18, 'b');
  FileWriter first(path, 30);
  FileWriter second(path, 30, FileWriter::Begin::join);
  second.write_rows(4, 6, 10, std::as_bytes(std::span(right)));
  first.write_rows(0, 4, 10, std::as_bytes(std::span(left)));
  const WrittenFile firsts = first.close(), seconds = second.close();
  EXPECT_EQ(read_file(path), "aaaabbbbbbaaaabbbbbbaaaabbbbbb");
  EXPECT_NO_THROW(settle(firsts));
  EXPECT_NO_THROW(settle(seconds));

  write_file(path, "aaaabbbbbbaaaabbbbbbaaaabbxbbb");

  EXPECT_NO_THROW(settle(firsts));
  EXPECT_THROW(settle(seconds), Damaged);
}

TEST(WrittenFile, settles_when_the_same_bytes_come_back) {
  const WrittenFile written = write_unsynced(fresh("written_b"), long_text());
  int pieces = 0;

  settle(written, [&] { ++pieces; });

  EXPECT_GT(pieces, 1);
}

TEST(WrittenFile, is_damaged_when_a_byte_was_changed_or_lost_or_added) {
  const std::string text = long_text();
  std::string changed = text;
  changed.front() = 'x';
  for (const std::string& other : {text.substr(1), text + "x", changed, std::string()}) {
    const WrittenFile written = write_unsynced(fresh("written_c"), text);
    write_file(written.path, other);

    EXPECT_THROW(settle(written), Damaged) << other.size();
  }
}

TEST(WrittenFile, an_empty_one_settles_too) {
  EXPECT_NO_THROW(settle(write_unsynced(fresh("written_d"), "")));
}

TEST(WrittenFile, that_is_gone_is_a_system_error) {
  const WrittenFile written = write_unsynced(fresh("written_e"), "text");
  fs::remove(written.path);

  EXPECT_THROW(settle(written), SystemError);
}

TEST(BackgroundWork, hands_over_what_its_work_threw) {
  BackgroundWork work;
  work.start([](const auto&) { throw SystemError("disk full"); });
  EXPECT_TRUE(work.busy());

  EXPECT_THROW(work.take_end(), SystemError);

  EXPECT_FALSE(work.busy());
  work.start([](const auto&) {});
  work.take_end();
}

TEST(BackgroundWork, runs_beside_the_caller_and_says_when_it_has_ended) {
  BackgroundWork work;
  std::atomic<bool> go = false;
  work.start([&](const auto&) {
    while (!go) std::this_thread::yield();
  });
  EXPECT_FALSE(work.ended());

  go = true;
  while (!work.ended()) std::this_thread::yield();

  EXPECT_TRUE(work.busy()) << "its end was not taken yet";
  work.take_end();
}

TEST(BackgroundWork, that_nobody_wants_any_more_ends_at_its_next_piece) {
  std::atomic<int> pieces = 0;
  {
    BackgroundWork work;
    work.start([&](const auto& go_on) {
      for (;; ++pieces) go_on();
    });
    while (pieces == 0) std::this_thread::yield();
  }
  EXPECT_GT(pieces, 0);
}

}  // namespace
}  // namespace refract
