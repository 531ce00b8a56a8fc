#pragma once
// Stage download: the shards of a source, fetched once into <data_root>/shards/<source digest>/.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "refract/corpus/source.hpp"

namespace refract {

// A shard that lies on this machine, verified when it was fetched.
struct FetchedShard {
  std::string name;
  std::string url;
  std::uint64_t bytes = 0;
  std::string sha256;
};

// What is to be fetched, known before anything is.
struct DownloadPlan {
  // Of the source's identity and, for every shard it lists, name, size and SHA-256 where known:
  // never a path.
  std::string digest;
  std::filesystem::path folder;  // <data_root>/shards/<digest>
  std::vector<ShardRef> shards;  // in shard order; source.max_shards applied
};

[[nodiscard]] DownloadPlan plan_download(const SourceConfig& source,
                                         const std::filesystem::path& data_root);

// As one string, for other ranks: a source is listed once.
[[nodiscard]] std::string to_text(const DownloadPlan& plan);
[[nodiscard]] DownloadPlan download_plan_from_text(const std::string& text);

enum class Verify { size, sha256 };

struct FetchOutcome {
  FetchedShard shard;
  bool fetched = false;  // it was not there before
};

// Fetches shard `i` of the plan unless it lies there whole: its record (name, url, bytes, sha256)
// is written beside it as <name>.json after the shard has its final name. Safe to call for
// different shards at once. `advanced` is called with the bytes that arrived, while they do.
FetchOutcome fetch_shard(const DownloadPlan& plan, std::size_t i, Verify verify = Verify::size,
                         const std::function<void(std::uint64_t)>& advanced = {});

struct DownloadResult {
  std::filesystem::path folder;
  std::string digest;
  std::vector<FetchedShard> shards;  // in shard order
  std::uint64_t fetched = 0;         // shards that were not there before
};

// <folder>/index.json, once every shard of the plan lies there.
void write_index(const DownloadPlan& plan);

// All shards of the source, then the index. Doing it again fetches nothing.
DownloadResult download(const SourceConfig& source, const std::filesystem::path& data_root,
                        Verify verify = Verify::size);

// What is recorded of a shard that was fetched; DataError naming it and the command to run when it
// is not there.
[[nodiscard]] FetchedShard fetched_shard(const std::filesystem::path& folder,
                                         const std::string& name);

}  // namespace refract
