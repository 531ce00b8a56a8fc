#include "refract/store/contexts.hpp"

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

void expect_whole(const ContextTableData& data, const std::filesystem::path& path) {
  bool ascending = data.segment_starts.size() == data.heldout.size() + 1 &&
                   data.segment_starts.front() == 0 &&
                   data.segment_starts.back() == data.segments.size();
  for (std::size_t i = 0; ascending && i + 1 < data.segment_starts.size(); ++i)
    ascending = data.segment_starts[i] <= data.segment_starts[i + 1];
  if (!ascending)
    throw DataError(
        "{}: segment_starts do not fit {} contexts and {} segments. Delete the file; it is made "
        "again",
        path.string(), data.heldout.size(), data.segments.size());
}

}  // namespace

std::string write_contexts(const std::filesystem::path& path, const ContextTableData& data,
                           const Parents& parents) {
  expect_whole(data, path);
  TableWriter table(path, {kSchema, kSchemaVersion, "tokenize", parents, {}});
  table.attribute("context_length", std::uint64_t{data.context_length});
  table.attribute("packing", data.packing);
  table.attribute("bos", data.bos);
  table.attribute("bos_id", std::uint64_t{data.bos_id});
  table.add("segment_starts", data.segment_starts, "contexts+1");
  table.add("heldout", data.heldout, "contexts");
  table.add("segments/slot", column(data.segments, &Segment::slot), "segments");
  table.add("segments/document", column(data.segments, &Segment::document), "segments");
  table.add("segments/token_offset", column(data.segments, &Segment::token_offset), "segments");
  table.add("segments/length", column(data.segments, &Segment::length), "segments");
  table.add("segments/bos", column(data.segments, &Segment::bos), "segments");
  return table.finish();
}

ContextTable read_contexts(const std::filesystem::path& path, const Parents& expected) {
  const TableFile file(path, {kSchema, kSchemaVersion, expected});
  ContextTable table{{}, file.header(), file.content_digest()};
  ContextTableData& data = table.data;
  data.context_length = static_cast<std::uint32_t>(file.count_attribute("context_length"));
  data.packing = file.text_attribute("packing");
  data.bos = file.text_attribute("bos");
  data.bos_id = static_cast<std::uint32_t>(file.count_attribute("bos_id"));
  data.segment_starts = file.read<std::uint64_t>("segment_starts");
  data.heldout = file.read<std::uint8_t>("heldout");
  const auto slot = file.read<std::uint32_t>("segments/slot");
  const auto document = file.read<std::uint32_t>("segments/document");
  const auto token_offset = file.read<std::uint32_t>("segments/token_offset");
  const auto length = file.read<std::uint32_t>("segments/length");
  const auto bos = file.read<std::uint8_t>("segments/bos");
  for (std::size_t i = 0; i < slot.size(); ++i)
    data.segments.push_back({slot[i], document.at(i), token_offset.at(i), length.at(i), bos.at(i)});
  expect_whole(data, path);
  return table;
}

}  // namespace refract
