#include "refract/stages/download.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/corpus/fetch.hpp"

namespace refract {
namespace {

using nlohmann::ordered_json;

std::string digest_of(const DocumentSource& source, const std::vector<ShardRef>& shards) {
  std::string text = fmt::format("refract shards 1\nsource {}\n", source.identity());
  for (const ShardRef& shard : shards)
    text += fmt::format("{} {} {}\n", shard.name, shard.bytes, shard.sha256);
  return short_digest(text);
}

fs::path record_path(const fs::path& folder, const std::string& shard) {
  return folder / (shard + ".json");
}

ordered_json to_json(const FetchedShard& shard) {
  return {
      {"name", shard.name}, {"url", shard.url}, {"bytes", shard.bytes}, {"sha256", shard.sha256}};
}

// Nothing where the record is absent or not readable: the shard is then digested or fetched anew.
std::optional<FetchedShard> read_record(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  const auto record = ordered_json::parse(read_file(path), nullptr, false);
  if (!record.is_object() || !record.contains("sha256") || !record.contains("bytes"))
    return std::nullopt;
  return FetchedShard{record.value("name", ""), record.value("url", ""),
                      record.value("bytes", std::uint64_t{0}), record.value("sha256", "")};
}

bool is_whole(const fs::path& file, const FetchedShard& record, Verify verify) {
  return fs::exists(file) && fs::file_size(file) == record.bytes &&
         (verify == Verify::size || sha256_of_file(file) == record.sha256);
}

// A shard that got its final name just before its record could be written.
std::optional<FetchedShard> adopt(const ShardRef& shard, const fs::path& file) {
  if (!fs::exists(file) || shard.sha256.empty() || fs::file_size(file) != shard.bytes)
    return std::nullopt;
  FetchedShard found{shard.name, shard.url, shard.bytes, sha256_of_file(file)};
  return found.sha256 == shard.sha256 ? std::optional(found) : std::nullopt;
}

}  // namespace

DownloadPlan plan_download(const SourceConfig& source, const std::filesystem::path& data_root) {
  const auto documents = make_source(source);
  DownloadPlan plan;
  plan.shards = documents->list_shards();
  plan.digest = digest_of(*documents, plan.shards);
  plan.folder = data_root / "shards" / plan.digest;
  if (source.max_shards != 0 && plan.shards.size() > source.max_shards)
    plan.shards.resize(static_cast<std::size_t>(source.max_shards));
  return plan;
}

std::string to_text(const DownloadPlan& plan) {
  ordered_json shards = ordered_json::array();
  for (const ShardRef& shard : plan.shards)
    shards.push_back({{"name", shard.name},
                      {"url", shard.url},
                      {"bytes", shard.bytes},
                      {"sha256", shard.sha256}});
  return ordered_json{{"digest", plan.digest}, {"folder", plan.folder.string()}, {"shards", shards}}
      .dump();
}

DownloadPlan download_plan_from_text(const std::string& text) {
  const auto json = ordered_json::parse(text);
  DownloadPlan plan{json.at("digest"), json.at("folder").get<std::string>(), {}};
  for (const auto& shard : json.at("shards"))
    plan.shards.push_back(
        {shard.at("name"), shard.at("url"), shard.at("bytes"), shard.at("sha256")});
  return plan;
}

FetchOutcome fetch_shard(const DownloadPlan& plan, std::size_t i, Verify verify,
                         const std::function<void(std::uint64_t)>& advanced) {
  const ShardRef& shard = plan.shards.at(i);
  const fs::path file = plan.folder / shard.name;
  const fs::path record = record_path(plan.folder, shard.name);
  if (const auto known = read_record(record); known && is_whole(file, *known, verify))
    return {*known, false};
  auto found = adopt(shard, file);
  const bool fetched = !found;
  if (!found) {
    if (fs::exists(file)) {
      warn(fmt::format("{} is not what was fetched; fetching it again", file.string()));
      fs::remove(file);
    }
    FetchOptions options;
    options.advanced = advanced;
    const FetchedFile result = fetch(shard, file, options);
    found = FetchedShard{shard.name, shard.url, result.bytes, result.sha256};
  }
  write_file(record, to_json(*found).dump(1) + "\n");
  return {*found, fetched};
}

void write_index(const DownloadPlan& plan) {
  ordered_json shards = ordered_json::array();
  for (const ShardRef& shard : plan.shards)
    shards.push_back(to_json(fetched_shard(plan.folder, shard.name)));
  const ordered_json index = {
      {"schema", "shards"}, {"version", 1}, {"digest", plan.digest}, {"shards", shards}};
  const std::string text = index.dump(1) + "\n";
  const fs::path path = plan.folder / "index.json";
  if (!fs::exists(path) || read_file(path) != text) write_file(path, text);
}

DownloadResult download(const SourceConfig& source, const std::filesystem::path& data_root,
                        Verify verify) {
  const DownloadPlan plan = plan_download(source, data_root);
  DownloadResult result{plan.folder, plan.digest, {}, 0};
  std::uint64_t bytes = 0;
  for (const ShardRef& shard : plan.shards) bytes += shard.bytes;
  Progress progress("download", bytes, "bytes");
  for (std::size_t i = 0; i < plan.shards.size(); ++i) {
    progress.note(plan.shards[i].name);
    std::uint64_t arrived = 0;
    const FetchOutcome outcome = fetch_shard(plan, i, verify, [&](std::uint64_t more) {
      arrived += more;
      progress.advance(more);
    });
    result.fetched += outcome.fetched ? 1 : 0;
    if (outcome.shard.bytes > arrived)
      progress.advance(outcome.shard.bytes - arrived);  // it was there
    result.shards.push_back(outcome.shard);
  }
  progress.finish();
  write_index(plan);
  return result;
}

FetchedShard fetched_shard(const std::filesystem::path& folder, const std::string& name) {
  const auto record = read_record(record_path(folder, name));
  if (!record || !is_whole(folder / name, *record, Verify::size))
    throw DataError("shard {} is not in {}; run `refract download` with this configuration first",
                    name, folder.string());
  return *record;
}

}  // namespace refract
