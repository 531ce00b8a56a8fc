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

struct TokenShard::Open {
  TableFile file;
  std::uint64_t tokens = 0, documents = 0;
  bool narrow = false;                 // ids are u16
  std::optional<std::uint64_t> frame;  // the one held in frame_text
  std::string frame_text;

  void load_frame(std::uint64_t wanted, std::uint64_t text_bytes) {
    if (frame == wanted) return;
    const auto ends = file.read_rows<std::uint64_t>("text_frames", wanted, 2);
    const auto packed = file.read_rows<std::uint8_t>("text", ends[0], ends[1] - ends[0]);
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

TokenShard::TokenShard(TableFile file) {
  const ColumnInfo ids = file.column("ids"), pages = file.column("documents/page_id");
  open_ = std::make_unique<Open>(Open{.file = std::move(file),
                                      .tokens = ids.shape[0],
                                      .documents = pages.shape[0],
                                      .narrow = ids.dtype == DType::u16,
                                      .frame = {},
                                      .frame_text = {}});
}
TokenShard::TokenShard(const std::filesystem::path& path, const Parents& expected,
                       TableFile::Checks checks)
    : TokenShard(TableFile(path, {kSchema, kSchemaVersion, expected}, checks)) {}
TokenShard::TokenShard(const std::filesystem::path& path, const Parents& expected,
                       FileDigests& seen, const std::function<void()>& tick)
    : TokenShard(TableFile(path, {kSchema, kSchemaVersion, expected}, seen, tick)) {}
TokenShard::~TokenShard() = default;
TokenShard::TokenShard(TokenShard&&) noexcept = default;
TokenShard& TokenShard::operator=(TokenShard&&) noexcept = default;

const std::filesystem::path& TokenShard::path() const { return open_->file.path(); }
const ArtifactHeader& TokenShard::header() const { return open_->file.header(); }
std::string TokenShard::content_digest() const { return open_->file.content_digest(); }
std::uint32_t TokenShard::shard() const {
  return static_cast<std::uint32_t>(open_->file.count_attribute("shard"));
}
std::uint32_t TokenShard::vocabulary() const {
  return static_cast<std::uint32_t>(open_->file.count_attribute("vocabulary"));
}
std::uint64_t TokenShard::tokens() const { return open_->tokens; }
std::uint64_t TokenShard::documents() const { return open_->documents; }
bool TokenShard::has_text() const { return open_->file.has("text"); }
void TokenShard::verify_content(const std::function<void()>& tick) const {
  open_->file.verify_content(tick);
}

void TokenShard::expect_document(std::uint64_t document) const {
  REFRACT_ASSERT(document < open_->documents, "{}: document {} of {}", path().string(), document,
                 open_->documents);
}

void TokenShard::append_ids(std::uint64_t first, std::uint64_t count,
                            std::vector<std::uint32_t>& to) const {
  const auto append = [&](const auto& ids) { to.insert(to.end(), ids.begin(), ids.end()); };
  if (open_->narrow)
    append(open_->file.read_rows<std::uint16_t>("ids", first, count));
  else
    append(open_->file.read_rows<std::uint32_t>("ids", first, count));
}

std::vector<std::uint64_t> TokenShard::document_token_starts(std::uint64_t first,
                                                             std::uint64_t count) const {
  REFRACT_ASSERT(first + count <= open_->documents, "{}: documents {}+{} of {}", path().string(),
                 first, count, open_->documents);
  auto starts = open_->file.read_rows<std::uint64_t>("documents/token_starts", first, count + 1);
  if (!std::ranges::is_sorted(starts) || starts.back() > open_->tokens)
    throw Damaged("{}: the token starts of documents {}+{} do not fit {} tokens", path().string(),
                  first, count, open_->tokens);
  return starts;
}

std::vector<std::uint64_t> TokenShard::document_keys() const {
  return open_->file.read<std::uint64_t>("documents/key");
}
std::vector<std::uint64_t> TokenShard::revisions() const {
  return open_->file.read<std::uint64_t>("documents/revision");
}
std::uint64_t TokenShard::document_key(std::uint64_t document) const {
  expect_document(document);
  return open_->file.read_row<std::uint64_t>("documents/key", document);
}
std::uint64_t TokenShard::page_id(std::uint64_t document) const {
  expect_document(document);
  return open_->file.read_row<std::uint64_t>("documents/page_id", document);
}
std::string TokenShard::title(std::uint64_t document) const {
  expect_document(document);
  return open_->file.read_string("documents/title", document);
}
std::string TokenShard::url(std::uint64_t document) const {
  expect_document(document);
  return open_->file.read_string("documents/url", document);
}
std::string TokenShard::links(std::uint64_t document) const {
  expect_document(document);
  return open_->file.read_string("documents/links", document);
}

DocumentTokens TokenShard::document_tokens(std::uint64_t document) const {
  const std::vector<std::uint64_t> starts = document_token_starts(document, 1);
  const std::uint64_t count = starts[1] - starts[0];
  DocumentTokens tokens;
  append_ids(starts[0], count, tokens.ids);
  tokens.begin = open_->file.read_rows<std::uint32_t>("token_begin", starts[0], count);
  tokens.end = open_->file.read_rows<std::uint32_t>("token_end", starts[0], count);
  return tokens;
}

std::string TokenShard::document_text(std::uint64_t document) const {
  expect_document(document);
  if (!has_text())
    throw DataError(
        "{} was written without text (tokens.keep_text: false). Set tokens.keep_text: true and "
        "tokenize again",
        path().string());
  const std::uint64_t first = document / kFrameDocuments * kFrameDocuments;
  const std::uint64_t last = std::min(first + kFrameDocuments, documents());
  const auto starts = open_->file.read_rows<std::uint64_t>("text_starts", first, last - first + 1);
  open_->load_frame(document / kFrameDocuments, starts.back() - starts.front());
  const std::uint64_t begin = starts[document - first] - starts.front();
  return open_->frame_text.substr(begin, starts[document - first + 1] - starts[document - first]);
}

}  // namespace refract
