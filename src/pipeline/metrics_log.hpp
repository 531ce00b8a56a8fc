#pragma once
// metrics.jsonl of one SAE: a line for each complete checkpoint. Every state.json says how long the
// file was and its SHA-256 so far (`head -c metrics_bytes metrics.jsonl | sha256sum`), so that a
// start checks it without looking at any checkpoint but the newest.
#include <cstdint>
#include <filesystem>
#include <string>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"

namespace refract {

struct MetricsMark {
  std::uint64_t bytes = 0;
  std::string digest;  // SHA-256 of the first `bytes` bytes
};

class MetricsLog {
 public:
  explicit MetricsLog(fs::path file) : file_(std::move(file)) {}
  [[nodiscard]] const fs::path& file() const { return file_; }

  // Goes on from what the file holds up to the mark, and cuts off what is beyond. false, with the
  // file as it was, when it does not hold that.
  [[nodiscard]] bool resume(const MetricsMark& mark);
  // Makes the file hold `text`, and goes on from there; leaves a file that does alone.
  void rewrite(const std::string& text);

  // A line (without its newline) that is going to be appended, by append() in any thread.
  void add(const std::string& line);
  [[nodiscard]] MetricsMark mark() const { return {bytes_, digest_.hex_so_far()}; }
  static void append(const fs::path& file, const std::string& line);

 private:
  void begin(std::string_view text);
  fs::path file_;
  std::uint64_t bytes_ = 0;
  Sha256 digest_;
};

}  // namespace refract
