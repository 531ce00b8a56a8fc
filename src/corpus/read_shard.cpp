#include "refract/corpus/read_shard.hpp"

#include <algorithm>

#include "corpus/record.hpp"
#include "refract/base/error.hpp"
#include "refract/base/newest.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatchBytes = std::size_t{16} << 20;
constexpr std::size_t kLinesPerTask = 16;

bool is_blank_line(std::string_view line) {
  return line.find_first_not_of(" \t") == std::string_view::npos;
}

void count(const CleanedRecord& record, const fs::path& file, std::uint64_t number,
           CorpusCounts& counts) {
  ++counts.records;
  counts.repaired_bytes += record.repaired_bytes;
  switch (record.fate) {
    case RecordFate::kept: ++counts.kept; break;
    case RecordFate::redirect: ++counts.redirects; break;
    case RecordFate::too_short: ++counts.too_short; break;
    case RecordFate::rejected: ++counts.rejected; break;
    case RecordFate::not_json:
      throw DataError(
          "shard {} line {} is not a JSON record: expected one JSON object on each line. It has "
          "the bytes that the source gave: mend or replace it there, or leave it out of "
          "source.from",
          file.string(), number);
  }
}

// Lines gathered until they are worth sharing out among threads.
class Batch {
 public:
  Batch(const fs::path& file, const CleaningRules& rules, CorpusCounts& counts,
        const std::function<void(Document&&)>& document, const std::function<void()>& tick)
      : file_(file), rules_(rules), counts_(counts), document_(document), tick_(tick) {}

  void add(std::string_view line, std::uint64_t number) {
    if (is_blank_line(line)) return;
    lines_.emplace_back(line);
    numbers_.push_back(number);
    bytes_ += line.size();
    if (bytes_ >= kBatchBytes) clean();
  }

  void clean() {
    std::vector<CleanedRecord> records(lines_.size());
    parallel_for((lines_.size() + kLinesPerTask - 1) / kLinesPerTask, [&](std::size_t task) {
      RecordReader reader(rules_);
      const std::size_t end = std::min(lines_.size(), (task + 1) * kLinesPerTask);
      for (std::size_t i = task * kLinesPerTask; i < end; ++i) records[i] = reader.read(lines_[i]);
    });
    for (std::size_t i = 0; i < records.size(); ++i) {
      count(records[i], file_, numbers_[i], counts_);
      if (records[i].fate == RecordFate::kept) document_(std::move(records[i].document));
    }
    lines_.clear();
    numbers_.clear();
    bytes_ = 0;
    if (tick_) tick_();
  }

 private:
  const fs::path& file_;
  const CleaningRules& rules_;
  CorpusCounts& counts_;
  const std::function<void(Document&&)>& document_;
  const std::function<void()>& tick_;
  std::vector<std::string> lines_;
  std::vector<std::uint64_t> numbers_;
  std::size_t bytes_ = 0;
};

// In file order, each as soon as it is cleaned.
CorpusCounts for_each_document(const fs::path& file, const CleaningRules& rules,
                               const std::function<void(Document&&)>& document,
                               const std::function<void()>& tick) {
  CorpusCounts counts;
  Batch batch(file, rules, counts, document, tick);
  for_each_line(file,
                [&](std::string_view line, std::uint64_t number) { batch.add(line, number); });
  batch.clean();
  return counts;
}

}  // namespace

CorpusCounts read_documents(const fs::path& file, const CleaningRules& rules,
                            std::vector<Document>& documents, const std::function<void()>& tick) {
  std::vector<Document> all;
  CorpusCounts counts = for_each_document(
      file, rules, [&](Document&& document) { all.push_back(std::move(document)); }, tick);
  std::vector<std::string> keys;  // "<project>\n<page id>"; without a page, one of its own
  std::vector<std::uint64_t> revisions;
  for (const Document& each : all) {
    keys.push_back(each.page_id != 0 ? each.project + '\n' + std::to_string(each.page_id)
                                     : std::to_string(keys.size()) + '\n');
    revisions.push_back(each.revision);
  }
  const std::vector<std::uint8_t> keep = keep_newest<std::string>(keys, revisions);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (keep[i])
      documents.push_back(std::move(all[i]));
    else
      ++counts.duplicates;
  }
  return counts;
}

}  // namespace refract
