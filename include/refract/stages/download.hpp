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
  // Of the source's kind and pinned revision and, for every shard it lists in order, name, size,
  // published hash and its kind: never a path. A shard of this machine is identified by its
  // content, so its hash is its SHA-256.
  std::string digest;
  std::filesystem::path folder;     // <data_root>/shards/<digest>
  std::filesystem::path data_root;  // where digests of files are kept
  std::vector<ShardRef> shards;     // in shard order; source.max_shards applied
};

// Reads the shards that lie on this machine and whose digests are not known yet.
// Digests::known reads no file and writes nothing: where a local shard's digest was never taken,
// the plan's digest and folder stay empty.
enum class Digests { take, known };
[[nodiscard]] DownloadPlan plan_download(const SourceConfig& source,
                                         const std::filesystem::path& data_root,
                                         Digests digests = Digests::take);

// As one string, for other ranks: a source is listed once.
[[nodiscard]] std::string to_text(const DownloadPlan& plan);
[[nodiscard]] DownloadPlan download_plan_from_text(const std::string& text);

// once: a file whose digest is known, and which has not changed since, is not read again.
enum class Verify { once, again };

struct FetchOutcome {
  FetchedShard shard;
  bool fetched = false;  // it was not there before
};

// Fetches shard `i` of the plan unless it lies there with the bytes that were fetched; what was
// changed or cut is fetched again. Its record (name, url, bytes, sha256) is written beside it as
// <name>.json after the shard has its final name. Any number of processes may ask for the same
// shard: one fetches, the others wait. `advanced` is called with the bytes that arrived, while they
// do, and with 0 otherwise; StopRequested when a stop was asked for while another job fetches it.
FetchOutcome fetch_shard(const DownloadPlan& plan, std::size_t i, Verify verify = Verify::once,
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
                        Verify verify = Verify::once);

// What is recorded of a shard that was fetched and has the recorded size; DataError naming it and
// the command to run when it is not there. Reads no shard.
[[nodiscard]] FetchedShard fetched_shard(const std::filesystem::path& folder,
                                         const std::string& name);

}  // namespace refract
