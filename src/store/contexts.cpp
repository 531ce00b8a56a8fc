#include "refract/store/contexts.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/store/table_file.hpp"

namespace refract {
namespace {

constexpr const char* kSchema = "context-table";

template <typename T>
std::vector<T> column(const std::vector<Segment>& segments, T Segment::*field) {
  std::vector<T> values;
  values.reserve(segments.size());
  for (const Segment& segment : segments) values.push_back(segment.*field);
  return values;
}

bool fits_together(const ContextTableData& data) {
  bool ascending = data.segment_starts.size() == data.heldout.size() + 1 &&
                   data.segment_starts.front() == 0 &&
                   data.segment_starts.back() == data.segments.size();
  for (std::size_t i = 0; ascending && i + 1 < data.segment_starts.size(); ++i)
    ascending = data.segment_starts[i] <= data.segment_starts[i + 1];
  return ascending && std::ranges::is_sorted(data.heldout);
}

}  // namespace

std::string write_contexts(const std::filesystem::path& path, const ContextTableData& data,
                           const Parents& parents, const ClaimMark& claim) {
  REFRACT_ASSERT(fits_together(data), "{}: segment_starts do not fit {} contexts and {} segments",
                 path.string(), data.heldout.size(), data.segments.size());
  TableWriter table(path, {kSchema, kSchemaVersion, "tokenize", parents, {}});
  table.attribute("context_length", std::uint64_t{data.format.length});
  table.attribute("packing", data.format.packing);
  table.attribute("bos", data.format.bos);
  table.attribute("bos_id", std::uint64_t{data.format.bos_id});
  table.add("segment_starts", data.segment_starts, "contexts+1");
  table.add("heldout", data.heldout, "contexts");
  table.add("segments/slot", column(data.segments, &Segment::slot), "segments");
  table.add("segments/document", column(data.segments, &Segment::document), "segments");
  table.add("segments/token_offset", column(data.segments, &Segment::token_offset), "segments");
  table.add("segments/length", column(data.segments, &Segment::length), "segments");
  table.add("segments/bos", column(data.segments, &Segment::bos), "segments");
  return table.finish(claim);
}

ContextTable::ContextTable(TableFile file) : file_(std::move(file)) {
  format_ = {.length = static_cast<std::uint32_t>(file_.count_attribute("context_length")),
             .packing = file_.text_attribute("packing"),
             .bos = file_.text_attribute("bos"),
             .bos_id = static_cast<std::uint32_t>(file_.count_attribute("bos_id"))};
  contexts_ = file_.column("heldout").shape[0];
  const std::uint64_t starts = file_.column("segment_starts").shape[0];
  if (starts != contexts_ + 1)
    throw Damaged("{}: {} segment_starts do not fit {} contexts", file_.path().string(), starts,
                  contexts_);
  training_contexts_ =
      file_.first_row<std::uint8_t>("heldout", [](std::uint8_t heldout) { return heldout != 0; });
}

ContextTable::ContextTable(const std::filesystem::path& path, const Parents& expected,
                           TableFile::Checks checks)
    : ContextTable(TableFile(path, {kSchema, kSchemaVersion, expected}, checks)) {}

ContextTable::ContextTable(const std::filesystem::path& path, const Parents& expected,
                           FileDigests& seen)
    : ContextTable(TableFile(path, {kSchema, kSchemaVersion, expected}, seen)) {}

ContextTableData ContextTable::read(std::uint64_t first, std::uint64_t count) const {
  REFRACT_ASSERT(first + count <= contexts_, "{}: contexts {}+{} of {}", file_.path().string(),
                 first, count, contexts_);
  ContextTableData data{.format = format_, .segment_starts = {}, .segments = {}, .heldout = {}};
  data.segment_starts = file_.read_rows<std::uint64_t>("segment_starts", first, count + 1);
  data.heldout = file_.read_rows<std::uint8_t>("heldout", first, count);
  const std::uint64_t begin = data.segment_starts.front(), end = data.segment_starts.back();
  const auto damaged = [&] {
    throw Damaged("{}: segment_starts of contexts {}+{} do not fit", file_.path().string(), first,
                  count);
  };
  if (begin > end || end > file_.column("segments/slot").shape[0]) damaged();
  const auto column = [&]<typename T>(const char* name, T Segment::*field) {
    const auto values = file_.read_rows<T>(name, begin, end - begin);
    for (std::size_t i = 0; i < values.size(); ++i) data.segments[i].*field = values[i];
  };
  data.segments.resize(end - begin);
  column("segments/slot", &Segment::slot);
  column("segments/document", &Segment::document);
  column("segments/token_offset", &Segment::token_offset);
  column("segments/length", &Segment::length);
  column("segments/bos", &Segment::bos);
  for (std::uint64_t& start : data.segment_starts) start -= begin;
  if (!fits_together(data)) damaged();
  return data;
}

}  // namespace refract
