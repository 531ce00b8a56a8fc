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

bool fits_together(const ContextTableData& data) {
  bool ascending = data.segment_starts.size() == data.heldout.size() + 1 &&
                   data.segment_starts.front() == 0 &&
                   data.segment_starts.back() == data.segments.size();
  for (std::size_t i = 0; ascending && i + 1 < data.segment_starts.size(); ++i)
    ascending = data.segment_starts[i] <= data.segment_starts[i + 1];
  return ascending;
}

}  // namespace

std::string write_contexts(const std::filesystem::path& path, const ContextTableData& data,
                           const Parents& parents, const ClaimMark& claim) {
  REFRACT_ASSERT(fits_together(data), "{}: segment_starts do not fit {} contexts and {} segments",
                 path.string(), data.heldout.size(), data.segments.size());
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
  return table.finish(claim);
}

ContextTable read_contexts(const std::filesystem::path& path, const Parents& expected) {
  const TableFile file(path, {kSchema, kSchemaVersion, expected});
  file.verify_content();
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
  const std::size_t segments = slot.size();
  const bool even = document.size() == segments && token_offset.size() == segments &&
                    length.size() == segments && bos.size() == segments;
  for (std::size_t i = 0; even && i < segments; ++i)
    data.segments.push_back({slot[i], document[i], token_offset[i], length[i], bos[i]});
  if (!even || !fits_together(data))
    throw Damaged("{}: segment_starts do not fit {} contexts and {} segments", path.string(),
                  data.heldout.size(), segments);
  return table;
}

}  // namespace refract
