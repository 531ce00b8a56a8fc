#pragma once
// Reading a fetched shard: JSON lines, plain or compressed (gz, zst, bz2, xz).
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "refract/corpus/document.hpp"

namespace refract {

// Calls `line` for each line of the (decompressed) file, with its number from 1 and without a byte
// order mark or a return; memory holds a few MiB whatever the file's size. A file is read whole,
// every member of it, with every checksum it carries, or is a DataError that names file, line and
// what is wrong.
void for_each_line(const std::filesystem::path& file,
                   const std::function<void(std::string_view line, std::uint64_t number)>& line);

// The documents that survive the rules, in file order; several are cleaned at once by threads. One
// bad record is counted and left out; a line that is not JSON is a DataError that names file and
// line. Where several records of the shard have one page id only the highest revision is kept (the
// first, when equal). tick() is called every few MiB.
CorpusCounts read_documents(const std::filesystem::path& file, const CleaningRules& rules,
                            std::vector<Document>& documents,
                            const std::function<void()>& tick = {});

}  // namespace refract
