#include "refract/store/file_digests.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "refract/base/digest.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

class FileDigestsTest : public testing::Test {
 protected:
  // A file whose last change lies back, so that its times tell it from the next change.
  fs::path old_file(const std::string& name, const std::string& bytes) {
    write_file(folder_ / name, bytes);
    while (FileDigests(folder_ / "probe").known(settle(folder_ / name)).empty()) {
    }
    return folder_ / name;
  }
  // Until the file's times are remembered, its last change is too near.
  fs::path settle(const fs::path& file) {
    FileDigests probe(folder_ / "probe");
    (void)probe.sha256(file);
    return file;
  }
  void change_in_place(const fs::path& file) {
    test::flip_byte(file, 0);
    fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(++changes_));
  }
  // This process knows the log at its path already; another one reads all of it.
  std::string known_to_another_process(const fs::path& file) {
    const fs::path copy = folder_ / fmt::format("copy {}", ++copies_);
    fs::copy(folder_ / "data", copy);
    return FileDigests(copy).known(file);
  }
  ScratchFolder folder_;
  int changes_ = 0, copies_ = 0;
};

TEST_F(FileDigestsTest, are_taken_once_and_known_to_the_next_process) {
  const fs::path file = old_file("a", "some bytes");
  int ticks = 0;
  FileDigests first(folder_ / "data");
  EXPECT_EQ(first.known(file), "");

  EXPECT_EQ(first.sha256(file, [&] { ++ticks; }), sha256_hex("some bytes"));
  EXPECT_EQ(first.sha256(file, [&] { ++ticks; }), sha256_hex("some bytes"));

  EXPECT_EQ(ticks, 1);
  EXPECT_EQ(known_to_another_process(file), sha256_hex("some bytes"));
}

TEST_F(FileDigestsTest, are_taken_anew_when_the_file_is_changed_in_place) {
  const fs::path file = old_file("a", "some bytes");
  FileDigests digests(folder_ / "data");
  const std::string before = digests.sha256(file);

  change_in_place(file);

  EXPECT_EQ(digests.known(file), "");
  EXPECT_NE(digests.sha256(file), before);
  EXPECT_EQ(digests.sha256(file), sha256_of_file(file));
}

TEST_F(FileDigestsTest, of_a_file_changed_this_moment_are_right_and_not_remembered) {
  write_file(folder_ / "a", "some bytes");
  fs::last_write_time(folder_ / "a", fs::file_time_type::clock::now() + std::chrono::hours(1));
  FileDigests digests(folder_ / "data");

  EXPECT_EQ(digests.sha256(folder_ / "a"), sha256_hex("some bytes"));

  EXPECT_EQ(digests.known(folder_ / "a"), "");
}

TEST_F(FileDigestsTest, taken_elsewhere_are_remembered_and_taken_again_on_demand) {
  const fs::path file = old_file("a", "some bytes");
  FileDigests digests(folder_ / "data");

  digests.remember(file, std::string(64, 'a'));

  EXPECT_EQ(digests.sha256(file), std::string(64, 'a'));
  EXPECT_EQ(digests.sha256_again(file), sha256_hex("some bytes"));
  EXPECT_EQ(known_to_another_process(file), sha256_hex("some bytes"));
}

TEST_F(FileDigestsTest, pass_over_torn_and_foreign_lines) {
  const fs::path file = old_file("a", "some bytes"), other = old_file("b", "other bytes");
  (void)FileDigests(folder_ / "data").sha256(file);
  const fs::path log = folder_ / "data" / "digests.jsonl";
  const std::string line = read_file(log);
  write_file(log, "not json\n[1]\n{\"device\":\"x\"}\n\n{\"sha256\":5}\n" + line +
                      line.substr(0, line.size() / 2));

  FileDigests digests(folder_ / "data");
  EXPECT_EQ(digests.known(file), sha256_hex("some bytes"));
  (void)digests.sha256(other);

  EXPECT_EQ(known_to_another_process(file), sha256_hex("some bytes"));
  EXPECT_EQ(known_to_another_process(other), sha256_hex("other bytes"));
}

TEST_F(FileDigestsTest, opened_again_take_in_what_was_appended_and_no_more) {
  const fs::path first = old_file("a", "some bytes"), last = old_file("b", "other bytes"),
                 later = old_file("c", "later bytes");
  const fs::path log = folder_ / "data" / "digests.jsonl", elsewhere = folder_ / "elsewhere";
  (void)FileDigests(folder_ / "data").sha256(first);
  (void)FileDigests(folder_ / "data").sha256(last);
  FileDigests digests(folder_ / "data");
  (void)FileDigests(elsewhere).sha256(later);
  const std::string line = read_file(elsewhere / "digests.jsonl");

  // The first line, read by now, is changed in place; a line comes from another process in halves.
  std::string text = read_file(log);
  text.replace(text.find("sha256") + 9, 64, std::string(64, 'a'));
  std::ofstream(log, std::ios::in) << text << line.substr(0, line.size() / 2);
  EXPECT_EQ(FileDigests(folder_ / "data").known(later), "");
  std::ofstream(log, std::ios::app) << line.substr(line.size() / 2);

  EXPECT_EQ(FileDigests(folder_ / "data").known(later), sha256_hex("later bytes"));
  EXPECT_EQ(digests.known(later), sha256_hex("later bytes")) << "one log, two objects";
  EXPECT_EQ(digests.known(first), sha256_hex("some bytes")) << "the log was read from its start";
  EXPECT_EQ(known_to_another_process(first), std::string(64, 'a'));
}

TEST_F(FileDigestsTest, of_a_log_that_was_replaced_or_removed_are_those_it_holds_now) {
  const fs::path file = old_file("a", "some bytes"), other = old_file("b", "other bytes");
  const fs::path log = folder_ / "data" / "digests.jsonl";
  (void)FileDigests(folder_ / "data").sha256(file);
  EXPECT_EQ(FileDigests(folder_ / "data").known(file), sha256_hex("some bytes"));
  (void)FileDigests(folder_ / "elsewhere").sha256(other);

  write_file(log,
             "a first line of another length\n" + read_file(folder_ / "elsewhere/digests.jsonl"));

  FileDigests digests(folder_ / "data");
  EXPECT_EQ(digests.known(file), "");
  EXPECT_EQ(digests.known(other), sha256_hex("other bytes"));
  fs::remove(log);
  FileDigests again(folder_ / "data");
  EXPECT_EQ(again.known(other), "");
  EXPECT_EQ(again.sha256(other), sha256_hex("other bytes"));
  EXPECT_EQ(known_to_another_process(other), sha256_hex("other bytes"));
}

TEST_F(FileDigestsTest, of_a_log_that_cannot_be_read_are_an_error_that_names_it) {
  make_folder(folder_ / "data" / "digests.jsonl");

  EXPECT_THROW(FileDigests(folder_ / "data"), SystemError);
}

TEST_F(FileDigestsTest, of_a_file_that_cannot_be_read_are_an_error_that_names_it) {
  FileDigests digests(folder_ / "data");

  expect_contains(data_error([&] { (void)digests.sha256(folder_ / "absent"); }), "absent");
  EXPECT_EQ(digests.known(folder_ / "absent"), "");
}

}  // namespace
}  // namespace refract
