#include "refract/store/token_shard.hpp"

#include <zstd.h>

#include <algorithm>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/store/table_file.hpp"

namespace refract {
namespace {

constexpr const char* kSchema = "token-shard";
constexpr std::uint64_t kFrameDocuments = 64;
constexpr std::uint32_t kShortVocabulary = 65536;  // ids fit in u16
constexpr int kZstdLevel = 3;

struct Text {
  std::vector<std::uint8_t> bytes;          // zstd frames, one after the other
  std::vector<std::uint64_t> frames = {0};  // [frames + 1] offsets into bytes
  std::vector<std::uint64_t> starts = {
      0};  // [documents + 1] offsets into the text before compression
};

Text compress(const std::vector<std::string>& documents) {
  Text text;
  for (std::size_t first = 0; first < documents.size(); first += kFrameDocuments) {
    std::string joined;
    for (std::size_t i = first; i < std::min(documents.size(), first + kFrameDocuments); ++i) {
      joined += documents[i];
      text.starts.push_back(text.starts.back() + documents[i].size());
    }
    std::vector<std::uint8_t> frame(ZSTD_compressBound(joined.size()));
    const std::size_t size =
        ZSTD_compress(frame.data(), frame.size(), joined.data(), joined.size(), kZstdLevel);
    REFRACT_ASSERT(!ZSTD_isError(size), "zstd: {}", ZSTD_getErrorName(size));
    text.bytes.insert(text.bytes.end(), frame.begin(),
                      frame.begin() + static_cast<std::ptrdiff_t>(size));
    text.frames.push_back(text.bytes.size());
  }
  return text;
}

void expect_consistent(const TokenShardData& data) {
  const std::size_t tokens = data.ids.size(), documents = data.documents();
  REFRACT_ASSERT(data.token_begin.size() == tokens && data.token_end.size() == tokens,
                 "{} ids, {} and {} spans", tokens, data.token_begin.size(), data.token_end.size());
  REFRACT_ASSERT(data.document_token_starts.size() == documents + 1 &&
                     data.document_token_starts.back() == tokens,
                 "{} documents, {} starts", documents, data.document_token_starts.size());
  REFRACT_ASSERT(data.document_key.size() == documents && data.revision.size() == documents &&
                     data.title.size() == documents && data.url.size() == documents &&
                     data.links.size() == documents,
                 "document columns differ in length ({} documents)", documents);
  REFRACT_ASSERT(!data.keep_text || data.text.size() == documents, "{} texts for {} documents",
                 data.text.size(), documents);
}

}  // namespace

std::string write_token_shard(const std::filesystem::path& path, const TokenShardData& data,
                              const Parents& parents, const ClaimMark& claim) {
  expect_consistent(data);
  TableWriter table(path, {kSchema, kSchemaVersion, "tokenize", parents, {}});
  table.attribute("shard", std::uint64_t{data.shard});
  table.attribute("vocabulary", std::uint64_t{data.vocabulary});
  if (data.vocabulary <= kShortVocabulary) {
    std::vector<std::uint16_t> ids(data.ids.size());
    std::transform(data.ids.begin(), data.ids.end(), ids.begin(),
                   [](std::uint32_t id) { return static_cast<std::uint16_t>(id); });
    table.add("ids", std::move(ids), "tokens");
  } else {
    table.add("ids", data.ids, "tokens");
  }
  table.add("token_begin", data.token_begin, "tokens");
  table.add("token_end", data.token_end, "tokens");
  table.add("documents/token_starts", data.document_token_starts, "documents+1");
  table.add("documents/key", data.document_key, "documents");
  table.add("documents/page_id", data.page_id, "documents");
  table.add("documents/revision", data.revision, "documents");
  table.add_strings("documents/title", data.title, "documents");
  table.add_strings("documents/url", data.url, "documents");
  table.add_strings("documents/links", data.links, "documents");
  if (data.keep_text) {
    Text text = compress(data.text);
    table.add("text", std::move(text.bytes), "bytes");
    table.add("text_frames", std::move(text.frames), "frames+1");
    table.add("text_starts", std::move(text.starts), "documents+1");
  }
  return table.finish(claim);
}

struct TokenShard::Tables {
  explicit Tables(TableFile opened) : file(std::move(opened)) {}
  TableFile file;
  mutable std::optional<std::vector<std::uint32_t>> ids, begin, end;
  mutable std::optional<std::vector<std::uint64_t>> token_starts, keys, page_ids, revisions, frames,
      text_starts;
  mutable std::optional<std::vector<std::string>> title, url, links;
  mutable std::optional<std::uint64_t> frame;  // the one held in frame_text
  mutable std::string frame_text;

  template <typename T>
  const std::vector<T>& column(std::optional<std::vector<T>>& kept, const char* name) const {
    if (!kept) kept = file.read<T>(name);
    return *kept;
  }
  const std::string& text(std::optional<std::vector<std::string>>& kept, const char* name,
                          std::uint64_t document) const {
    if (!kept) kept = file.read_strings(name);
    expect_document(document, kept->size());
    return (*kept)[document];
  }
  void expect_document(std::uint64_t document, std::uint64_t documents) const {
    REFRACT_ASSERT(document < documents, "{}: document {} of {}", file.path().string(), document,
                   documents);
  }
  void load_frame(std::uint64_t wanted, std::uint64_t text_bytes) const {
    if (frame == wanted) return;
    const std::vector<std::uint64_t>& starts = column(frames, "text_frames");
    const auto packed = file.read_rows<std::uint8_t>("text", starts.at(wanted),
                                                     starts.at(wanted + 1) - starts.at(wanted));
    frame_text.resize(text_bytes);
    const std::size_t size =
        ZSTD_decompress(frame_text.data(), frame_text.size(), packed.data(), packed.size());
    frame.reset();
    if (ZSTD_isError(size) || size != text_bytes)
      throw Damaged("{}: text frame {} is damaged ({}). Start again: tokenize makes the file anew",
                    file.path().string(), wanted,
                    ZSTD_isError(size) ? ZSTD_getErrorName(size) : "wrong length");
    frame = wanted;
  }
};

TokenShard::TokenShard(const std::filesystem::path& path, const Parents& expected,
                       TableFile::Checks checks)
    : tables_(
          std::make_unique<Tables>(TableFile(path, {kSchema, kSchemaVersion, expected}, checks))) {}
TokenShard::~TokenShard() = default;
TokenShard::TokenShard(TokenShard&&) noexcept = default;
TokenShard& TokenShard::operator=(TokenShard&&) noexcept = default;

const std::filesystem::path& TokenShard::path() const { return tables_->file.path(); }
const ArtifactHeader& TokenShard::header() const { return tables_->file.header(); }
std::string TokenShard::content_digest() const { return tables_->file.content_digest(); }
std::uint32_t TokenShard::shard() const {
  return static_cast<std::uint32_t>(tables_->file.count_attribute("shard"));
}
std::uint32_t TokenShard::vocabulary() const {
  return static_cast<std::uint32_t>(tables_->file.count_attribute("vocabulary"));
}
std::uint64_t TokenShard::tokens() const { return tables_->file.column("ids").shape[0]; }
std::uint64_t TokenShard::documents() const {
  return tables_->file.column("documents/page_id").shape[0];
}
bool TokenShard::has_text() const { return tables_->file.has("text"); }
void TokenShard::verify_content(const std::function<void()>& tick) const {
  tables_->file.verify_content(tick);
}

const std::vector<std::uint32_t>& TokenShard::ids() const {
  if (!tables_->ids && tables_->file.column("ids").dtype == DType::u16) {
    const auto narrow = tables_->file.read<std::uint16_t>("ids");
    tables_->ids.emplace(narrow.begin(), narrow.end());
  }
  return tables_->column(tables_->ids, "ids");
}
const std::vector<std::uint32_t>& TokenShard::token_begin() const {
  return tables_->column(tables_->begin, "token_begin");
}
const std::vector<std::uint32_t>& TokenShard::token_end() const {
  return tables_->column(tables_->end, "token_end");
}
const std::vector<std::uint64_t>& TokenShard::document_token_starts() const {
  return tables_->column(tables_->token_starts, "documents/token_starts");
}
const std::vector<std::uint64_t>& TokenShard::document_keys() const {
  return tables_->column(tables_->keys, "documents/key");
}
const std::vector<std::uint64_t>& TokenShard::page_ids() const {
  return tables_->column(tables_->page_ids, "documents/page_id");
}
const std::vector<std::uint64_t>& TokenShard::revisions() const {
  return tables_->column(tables_->revisions, "documents/revision");
}
const std::string& TokenShard::title(std::uint64_t document) const {
  return tables_->text(tables_->title, "documents/title", document);
}
const std::string& TokenShard::url(std::uint64_t document) const {
  return tables_->text(tables_->url, "documents/url", document);
}
const std::string& TokenShard::links(std::uint64_t document) const {
  return tables_->text(tables_->links, "documents/links", document);
}

DocumentTokens TokenShard::document_tokens(std::uint64_t document) const {
  tables_->expect_document(document, documents());
  const auto first = static_cast<std::ptrdiff_t>(document_token_starts()[document]);
  const auto last = static_cast<std::ptrdiff_t>(document_token_starts()[document + 1]);
  const auto part = [&](const std::vector<std::uint32_t>& column) {
    return std::vector<std::uint32_t>(column.begin() + first, column.begin() + last);
  };
  return {part(ids()), part(token_begin()), part(token_end())};
}

std::string TokenShard::document_text(std::uint64_t document) const {
  tables_->expect_document(document, documents());
  if (!has_text())
    throw DataError(
        "{} was written without text (tokens.keep_text: false). Set tokens.keep_text: true and "
        "tokenize again",
        path().string());
  const std::vector<std::uint64_t>& starts = tables_->column(tables_->text_starts, "text_starts");
  const std::uint64_t first = document / kFrameDocuments * kFrameDocuments;
  const std::uint64_t last = std::min(first + kFrameDocuments, documents());
  tables_->load_frame(document / kFrameDocuments, starts.at(last) - starts.at(first));
  return tables_->frame_text.substr(starts[document] - starts[first],
                                    starts[document + 1] - starts[document]);
}

}  // namespace refract
