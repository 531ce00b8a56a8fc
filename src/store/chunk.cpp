#include "refract/store/chunk.hpp"

#include <charconv>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {

void RowIdentity::resize(std::size_t rows) {
  context.resize(rows);
  position.resize(rows);
  token.resize(rows);
  document.resize(rows);
  document_position.resize(rows);
  excluded.resize(rows);
}

void RowIdentity::append(const RowIdentity& other, std::size_t row) {
  context.push_back(other.context[row]);
  position.push_back(other.position[row]);
  token.push_back(other.token[row]);
  document.push_back(other.document[row]);
  document_position.push_back(other.document_position[row]);
  excluded.push_back(other.excluded[row]);
}

RowIdentity RowIdentity::rows(std::size_t first, std::size_t count) const {
  const auto part = [&](const auto& column) {
    const auto begin = column.begin() + static_cast<std::ptrdiff_t>(first);
    return std::decay_t<decltype(column)>(begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  return {part(context),  part(position),          part(token),
          part(document), part(document_position), part(excluded)};
}

std::uint64_t ChunkSpec::rows_of_block(std::uint64_t block) const {
  REFRACT_ASSERT(block < blocks(), "block {} of {}", block, blocks());
  return std::min(block_rows, rows - block * block_rows);
}

std::string chunk_name(std::uint64_t chunk) { return fmt::format("chunk-{:06}", chunk); }

std::optional<std::uint64_t> chunk_of_file(std::string_view file) {
  std::uint64_t chunk = 0;
  constexpr std::string_view kPrefix = "chunk-";
  if (!file.starts_with(kPrefix)) return std::nullopt;
  (void)std::from_chars(file.data() + kPrefix.size(), file.data() + file.size(), chunk);
  return file == chunk_name(chunk) + ".h5" ? std::optional(chunk) : std::nullopt;
}

std::uint64_t estimated_chunk_bytes(const ChunkSpec& spec) {
  constexpr std::uint64_t kIdentityBytes = 8 + 4 + 4 + 8 + 4 + 1;
  constexpr std::uint64_t kPaddingBytes = 1 << 20;
  std::uint64_t row_bytes = kIdentityBytes;
  for (const HookColumn& hook : spec.hooks) row_bytes += hook.d_in * byte_size(spec.dtype) + 1;
  return spec.rows * row_bytes + spec.blocks() * 8 + (8 + 2 * spec.hooks.size()) * kPaddingBytes;
}

}  // namespace refract
