// rows_of CHUNK: what its rows say, for tests that need no Python package: a line "hooks N" ("hooks
// N equal" when two of them hold the same values), then "context document" of each row. rows_of
// CHUNK flip ROW: another flag of excluded rows in the file's bytes; no checksum follows.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "refract/store/chunk.hpp"

namespace {

int flip(const std::filesystem::path& path, std::size_t row) {
  const std::vector<std::uint8_t> flags = refract::ChunkReader(path).read_identity().excluded;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::string_view wanted(reinterpret_cast<const char*>(flags.data()), flags.size());
  const std::size_t at = bytes.find(wanted);
  if (at == std::string::npos || bytes.find(wanted, at + 1) != std::string::npos) {
    std::fprintf(stderr, "rows_of: the flags are not at one place of %s\n", path.c_str());
    return 1;
  }
  file.clear();
  file.seekp(static_cast<std::streamoff>(at + row));
  file.put(static_cast<char>(flags.at(row) ^ 1));
  return file.flush() ? 0 : 1;
}

bool any_equal(const std::vector<std::vector<float>>& hooks) {
  for (std::size_t i = 0; i < hooks.size(); ++i)
    if (std::find(hooks.begin() + static_cast<std::ptrdiff_t>(i) + 1, hooks.end(), hooks[i]) !=
        hooks.end())
      return true;
  return false;
}

void print(const std::filesystem::path& path) {
  const refract::ChunkReader reader(path);
  std::vector<std::vector<float>> hooks;
  for (std::size_t hook = 0; hook < reader.spec().hooks.size(); ++hook) {
    hooks.emplace_back(reader.rows() * reader.spec().hooks[hook].d_in);
    reader.read_rows(hook, 0, reader.rows(), hooks.back());
  }
  std::printf("hooks %zu%s\n", hooks.size(), any_equal(hooks) ? " equal" : "");
  const refract::RowIdentity rows = reader.read_identity();
  for (std::size_t row = 0; row < rows.size(); ++row)
    std::printf("%llu %llu\n", static_cast<unsigned long long>(rows.context[row]),
                static_cast<unsigned long long>(rows.document[row]));
}

}  // namespace

int main(int argc, char** argv) {
  const bool flips = argc == 4 && std::string_view(argv[2]) == "flip";
  if (argc != 2 && !flips) {
    std::fputs("usage: rows_of CHUNK [flip ROW]\n", stderr);
    return 2;
  }
  if (flips) return flip(argv[1], std::strtoull(argv[3], nullptr, 10));
  print(argv[1]);
  return 0;
}
