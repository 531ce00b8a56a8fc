#include "store/block_list.hpp"

#include <charconv>
#include <string_view>
#include <vector>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"
#include "refract/store/chunk.hpp"

namespace refract {
namespace {

std::string list_prefix(const fs::path& chunk) { return chunk.stem().string() + ".blocks."; }

std::vector<fs::path> list_files(const fs::path& chunk) {
  std::vector<fs::path> files;
  const fs::path folder = chunk.has_parent_path() ? chunk.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(list_prefix(chunk)))
      files.push_back(entry.path());
  return files;
}

bool parse(std::string_view line, BlockRecord& record) {
  const char* end = line.data() + line.size();
  const auto block = std::from_chars(line.data(), end, record.block);
  if (block.ec != std::errc() || end - block.ptr != 1 + 16 || *block.ptr != ' ') return false;
  const auto checksum = std::from_chars(block.ptr + 1, end, record.checksum, 16);
  return checksum.ec == std::errc() && checksum.ptr == end;
}

}  // namespace

fs::path block_list_path(const fs::path& chunk, int rank) {
  return chunk.parent_path() / (list_prefix(chunk) + std::to_string(rank));
}

std::string block_line(const BlockRecord& record) {
  return std::to_string(record.block) + " " + hex(record.checksum);
}

std::multimap<std::uint64_t, std::uint64_t> read_block_lists(const fs::path& chunk) {
  std::multimap<std::uint64_t, std::uint64_t> records;
  for (const fs::path& path : list_files(chunk)) {
    const std::string text = read_file(path);
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
      if (BlockRecord record; parse(std::string_view(text).substr(begin, end - begin), record))
        records.emplace(record.block, record.checksum);
  }
  return records;
}

void remove_block_lists(const fs::path& chunk) {
  for (const fs::path& path : list_files(chunk)) remove_all_quietly(path);
}

// A chunk with its final name and without its part file is sealed; its lists only had not gone yet.
void remove_leftovers_of_kills(const fs::path& store) {
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(store)) {
    const std::string name = entry.path().filename();
    const std::size_t list = name.find(".blocks.");
    const fs::path chunk = store / (name.substr(0, list) + ".h5");
    const bool sealed = list != std::string::npos && fs::exists(chunk);
    if (name.find(".part.locktest.") != std::string::npos ||
        (sealed && !fs::exists(part_name(chunk))))
      left.push_back(entry.path());
  }
  for (const fs::path& path : left) remove_all_quietly(path);
}

}  // namespace refract
