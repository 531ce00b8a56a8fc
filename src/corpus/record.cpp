#include "corpus/record.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_set>

#include "corpus/clean_text.hpp"
#include "refract/base/numbers.hpp"

namespace refract {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kDeepest = 64;  // of sections in sections; real pages stay below 10

std::string_view text_of(const dom::object& object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

std::uint64_t whole_number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact
  return value > 0 && value <= kExact && value == std::floor(value)
             ? static_cast<std::uint64_t>(value)
             : 0;
}

// 12, 12.0, "12", " 12 " and "12.0" are one page; 0 for what is no whole number.
std::uint64_t number_of(const dom::element& element) {
  std::uint64_t number = 0;
  if (element.get(number) == simdjson::SUCCESS) return number;
  double real = 0;
  if (element.get(real) == simdjson::SUCCESS) return whole_number(real);
  std::string_view text;
  if (element.get(text) != simdjson::SUCCESS) return 0;
  const std::string trimmed = clean_line(text);
  if (const auto count = parse_count(trimmed)) return *count;
  return whole_number(parse_real(trimmed).value_or(0));
}

std::uint64_t first_number(const dom::object& record,
                           std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    dom::element element;
    if (record[key].get(element) == simdjson::SUCCESS)
      if (const std::uint64_t number = number_of(element)) return number;
  }
  return 0;
}

// record[key].identifier
simdjson::error_code identifier_of(const dom::object& record, std::string_view key,
                                   dom::element& found) {
  dom::object object;
  if (const auto error = record[key].get(object)) return error;
  return object["identifier"].get(found);
}

enum class PartKind { line, container, skipped };

// Kinds not listed are tables, galleries, images, infoboxes, fields and whatever a later release
// brings.
PartKind kind_of(std::string_view type) {
  for (const std::string_view line : {"paragraph", "list_item", "definition_term", "definition"})
    if (type == line) return PartKind::line;
  for (const std::string_view container :
       {"section", "list", "ordered_list", "unordered_list", "definition_list"})
    if (type == container) return PartKind::container;
  return PartKind::skipped;
}

bool is_surrogate_escape(std::string_view text, std::size_t at, char first, char last) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return false;
  const char second = static_cast<char>(text[at + 3] | 0x20);
  return (text[at + 2] | 0x20) == 'd' && second >= first && second <= last;
}

// "\ud800" without its partner is legal JSON and no character: it becomes \ufffd. True when one was
// found.
bool repair_surrogates(std::string& line, std::uint64_t& repaired) {
  bool found = false;
  for (std::size_t at = 0; at + 1 < line.size(); ++at) {
    if (line[at] != '\\') continue;
    const bool high =
        is_surrogate_escape(line, at, '8', '9') || is_surrogate_escape(line, at, 'a', 'b');
    const bool low = is_surrogate_escape(line, at, 'c', 'f');
    if (high && is_surrogate_escape(line, at + 6, 'c', 'f')) {
      at += 11;
    } else if (high || low) {
      line.replace(at, 6, "\\ufffd");
      repaired += 6;
      found = true;
      at += 5;
    } else {
      ++at;  // the escaped character
    }
  }
  return found;
}

}  // namespace

struct RecordReader::State {
  explicit State(const CleaningRules& cleaning) : rules(cleaning) {
    for (const std::string& section : rules.drop_sections) dropped.insert(section_key(section));
  }

  CleaningRules rules;
  std::unordered_set<std::string> dropped;
  dom::parser parser, inner_parser;
  std::unordered_set<std::string> seen_links;

  // SUCCESS also after repairing what simdjson refuses and others accept.
  simdjson::error_code parse(std::string_view line, dom::element& root, std::uint64_t& repaired) {
    auto error = parser.parse(line.data(), line.size()).get(root);
    if (error == simdjson::SUCCESS) return error;
    std::string mended = repair_utf8(line, repaired);
    repair_surrogates(mended, repaired);
    return mended == line ? error : parser.parse(mended).get(root);
  }

  void append_links(const dom::object& part, Document& document) {
    dom::array links;
    if (part["links"].get(links) != simdjson::SUCCESS) return;
    for (const dom::element link : links) {
      dom::object object;
      if (link.get(object) != simdjson::SUCCESS) continue;
      const std::string url = clean_line(text_of(object, "url"));
      if (url.empty() || !seen_links.insert(url).second) continue;
      if (!document.links.empty()) document.links += '\n';
      document.links += url;
    }
  }

  void append_part(const dom::element& element, std::size_t depth, Document& document) {
    dom::object part;
    if (depth > kDeepest || element.get(part) != simdjson::SUCCESS) return;
    const std::string_view type = text_of(part, "type");
    const PartKind kind = kind_of(type);
    if (kind == PartKind::skipped) return;
    if (type == "section" && dropped.contains(section_key(text_of(part, "name")))) return;
    if (kind == PartKind::line) {
      append_clean_lines(text_of(part, "value"), document.text);
      append_links(part, document);
    }
    dom::array parts;
    if (part["has_parts"].get(parts) != simdjson::SUCCESS) return;
    for (const dom::element inner : parts) append_part(inner, depth + 1, document);
  }

  // The list of sections: a list, or JSON text of one (the Parquet releases).
  bool find_sections(const dom::object& record, dom::array& sections) {
    for (const std::string_view key : {"sections", "article_sections"}) {
      dom::element element;
      if (record[key].get(element) != simdjson::SUCCESS) continue;
      std::string_view json;
      if (element.get(json) == simdjson::SUCCESS &&
          inner_parser.parse(json.data(), json.size()).get(element))
        return false;
      return element.get(sections) == simdjson::SUCCESS;
    }
    return false;
  }

  // The body without the title; false when the record is no article.
  bool append_body(const dom::object& record, Document& document) {
    dom::array sections;
    if (find_sections(record, sections)) {
      for (const dom::element section : sections) append_part(section, 0, document);
      return true;
    }
    std::string_view text;
    if (record["text"].get(text) != simdjson::SUCCESS) return false;
    append_clean_lines(text, document.text);
    return true;
  }

  void read_identity(const dom::object& record, Document& document) {
    document.page_id = first_number(record, {"identifier", "id", "pageid"});
    document.revision = first_number(record, {"revid", "revision"});
    dom::element element;
    if (identifier_of(record, "version", element) == simdjson::SUCCESS)
      document.revision = number_of(element);
    document.project = rules.project;
    std::string_view project;
    if (identifier_of(record, "is_part_of", element) == simdjson::SUCCESS &&
        element.get(project) == simdjson::SUCCESS)
      document.project = clean_line(project);
    document.url = clean_line(text_of(record, "url"));
    std::string_view title = text_of(record, "name");
    document.title = clean_line(title.empty() ? text_of(record, "title") : title);
  }
};

RecordReader::RecordReader(const CleaningRules& rules) : state_(std::make_unique<State>(rules)) {}
RecordReader::~RecordReader() = default;
RecordReader::RecordReader(RecordReader&&) noexcept = default;

CleanedRecord RecordReader::read(std::string_view line) {
  CleanedRecord result;
  dom::element root;
  if (state_->parse(line, root, result.repaired_bytes) != simdjson::SUCCESS) {
    result.fate = RecordFate::not_json;
    return result;
  }
  dom::object record;
  if (root.get(record) != simdjson::SUCCESS) return result;
  Document& document = result.document;
  state_->seen_links.clear();
  state_->read_identity(record, document);
  if (!state_->append_body(record, document)) return result;
  // Some plain sources repeat the title as the first line.
  const std::string heading = document.title.empty() ? "" : document.title + '\n';
  if (document.text.starts_with(heading)) document.text.erase(0, heading.size());
  if (is_redirect(text_of(record, "abstract")) || is_redirect(document.text)) {
    result.fate = RecordFate::redirect;
    return result;
  }
  document.text.insert(0, heading);
  if (!document.text.empty()) document.text.pop_back();
  const bool short_text =
      document.text.empty() || count_code_points(document.text) < state_->rules.min_chars;
  result.fate = short_text ? RecordFate::too_short : RecordFate::kept;
  return result;
}

}  // namespace refract
