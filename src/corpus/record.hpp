#pragma once
// One line of a shard -> a cleaned document. Two layouts: structured contents ("sections", a tree
// of parts; see docs/formats/shards.md) and plain ("text").
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "refract/corpus/document.hpp"

namespace refract {

enum class RecordFate { kept, redirect, too_short, rejected, not_json };

struct CleanedRecord {
  RecordFate fate = RecordFate::rejected;
  Document document;  // if kept
  std::uint64_t repaired_bytes = 0;
};

// Not for several threads at once: keeps its parser's memory.
class RecordReader {
 public:
  explicit RecordReader(const CleaningRules& rules);
  ~RecordReader();
  RecordReader(RecordReader&&) noexcept;
  [[nodiscard]] CleanedRecord read(std::string_view line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace refract
