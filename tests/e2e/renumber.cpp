// renumber SHARD TARGET COPIES: writes TARGET-<copy>.jsonl, the pages of the shard with other page
// ids, so that no page of a copy repeats one of another.
#include <charconv>
#include <fstream>
#include <string>

#include "refract/corpus/read_shard.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string shard = argv[1], target = argv[2], id = "\"identifier\": ";
  for (int copy = 0; copy < std::stoi(argv[3]); ++copy) {
    std::ofstream out(target + "-" + std::to_string(copy) + ".jsonl");
    refract::for_each_line(shard, [&](std::string_view line, std::uint64_t) {
      const std::size_t at = line.find(id) + id.size();  // the page's comes first
      std::uint64_t number = 0;
      const auto [end, error] =
          std::from_chars(line.data() + at, line.data() + line.size(), number);
      if (error != std::errc()) return;
      out << line.substr(0, at) << number + 1'000'000'000ULL * static_cast<std::uint64_t>(copy)
          << std::string_view(end, static_cast<std::size_t>(line.data() + line.size() - end))
          << '\n';
    });
  }
  return 0;
}
