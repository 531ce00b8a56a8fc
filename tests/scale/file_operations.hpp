#pragma once
// What a process asks of its file systems, counted where the C library is called: refract's own
// calls and those of std::filesystem and of streams.
#include <cstdint>

namespace refract::test {

struct FileOperations {
  std::uint64_t opened = 0;     // files and folders
  std::uint64_t renamed = 0;    // names made, changed or removed
  std::uint64_t listed = 0;     // entries of folders read
  std::uint64_t looked_at = 0;  // stat and its kin
  std::uint64_t allocated = 0;  // calls of operator new: a copy of a list shows here
  FileOperations operator-(const FileOperations& before) const {
    return {opened - before.opened, renamed - before.renamed, listed - before.listed,
            looked_at - before.looked_at, allocated - before.allocated};
  }
};

[[nodiscard]] FileOperations file_operations();  // so far, of all threads

}  // namespace refract::test
