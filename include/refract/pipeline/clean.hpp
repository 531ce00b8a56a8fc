#pragma once
// `refract clean`: what no run under a data root names.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace refract {

struct Leftover {
  std::filesystem::path path;  // a folder with all in it, or one file
  std::uint64_t bytes = 0;
  std::string why;  // "no run names it", "left by a write that was cut short", ...
};

struct CleanPlan {
  std::vector<Leftover> leftovers;
  std::vector<std::string> notes;  // what is kept though it looks left over, and why
};

// Folders of shards, tokens and contexts that no registered run names; .part and .claim files
// whose writer is gone. A run whose folder no longer exists names nothing. What a live claim holds
// is kept. Where no run ever registered nothing is known, so nothing is listed.
[[nodiscard]] CleanPlan plan_clean(const std::filesystem::path& data_root);

// The plan as text; with `remove`, carried out, while no run can register. Nothing outside
// data_root is touched. DataError when the registry cannot be read: then nothing is removed.
[[nodiscard]] std::string clean(const std::filesystem::path& data_root, bool remove);

}  // namespace refract
