#include "refract/stages/download.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/corpus/fetch.hpp"
#include "refract/stages/claimed.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/file_digests.hpp"

namespace refract {
namespace {

using nlohmann::ordered_json;

std::string digest_of(const DocumentSource& source, const std::vector<ShardRef>& shards) {
  std::string text =
      fmt::format("refract shards {}\nsource {}\n", kSchemaVersion, source.identity());
  for (const ShardRef& shard : shards)
    text += fmt::format("{} {} {} {}\n", shard.bytes, shard.hash_kind, shard.hash, shard.name);
  return short_digest(text);
}

fs::path record_path(const fs::path& folder, const std::string& shard) {
  return folder / (shard + ".json");
}

ordered_json to_json(const FetchedShard& shard) {
  return {
      {"name", shard.name}, {"url", shard.url}, {"bytes", shard.bytes}, {"sha256", shard.sha256}};
}

std::string text_in(const ordered_json& record, const char* name) {
  const auto found = record.find(name);
  return found != record.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Nothing where the record is absent, damaged or of another shard: that one is then digested or
// fetched anew.
std::optional<FetchedShard> read_record(const fs::path& folder, const std::string& shard) {
  const fs::path path = record_path(folder, shard);
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  const auto record = ordered_json::parse(read_file(path), nullptr, false);
  if (!record.is_object()) return std::nullopt;
  const FetchedShard found{text_in(record, "name"), text_in(record, "url"),
                           record.contains("bytes") && record["bytes"].is_number_unsigned()
                               ? record["bytes"].get<std::uint64_t>()
                               : 0,
                           text_in(record, "sha256")};
  if (found.name != shard || found.sha256.size() != 64 || !record["bytes"].is_number_unsigned())
    return std::nullopt;
  return found;
}

bool has_size(const fs::path& file, std::uint64_t bytes) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) && fs::file_size(file, ignored) == bytes;
}

// The record of a shard that lies there with the bytes that were fetched.
std::optional<FetchedShard> whole_shard(const DownloadPlan& plan, const ShardRef& shard,
                                        Verify verify, const std::function<void()>& tick) {
  const fs::path file = plan.folder / shard.name;
  const auto record = read_record(plan.folder, shard.name);
  if (!record || !has_size(file, record->bytes)) return std::nullopt;
  if (!shard.hash.empty() && shard.hash != record->sha256) return std::nullopt;
  FileDigests digests(plan.data_root);
  const std::string found =
      verify == Verify::again ? digests.sha256_again(file, tick) : digests.sha256(file, tick);
  return found == record->sha256 ? record : std::nullopt;
}

// A shard that got its final name just before its record could be written.
std::optional<FetchedShard> adopt(const DownloadPlan& plan, const ShardRef& shard,
                                  const std::function<void()>& tick) {
  const fs::path file = plan.folder / shard.name;
  if (shard.hash.empty() || !has_size(file, shard.bytes)) return std::nullopt;
  const std::string found = FileDigests(plan.data_root).sha256_again(file, tick);
  if (found != shard.hash) return std::nullopt;
  return FetchedShard{shard.name, shard.url, shard.bytes, found};
}

// "<bytes>:<field>" one after the other, so that a field may hold any byte.
class Fields {
 public:
  Fields() = default;
  explicit Fields(std::string text) : text_(std::move(text)) {}
  void put(std::string_view field) { text_ += fmt::format("{}:{}", field.size(), field); }
  [[nodiscard]] std::string take() {
    const std::size_t colon = text_.find(':', at_);
    const auto bytes = parse_count(std::string_view(text_).substr(at_, colon - at_));
    REFRACT_ASSERT(colon != std::string::npos && bytes && *bytes <= text_.size() - colon - 1,
                   "a download plan of {} bytes ends within a field", text_.size());
    at_ = colon + 1 + *bytes;
    return text_.substr(colon + 1, *bytes);
  }
  [[nodiscard]] std::uint64_t take_count() {
    const auto count = parse_count(take());
    REFRACT_ASSERT(count.has_value(), "a download plan has text where a number belongs");
    return *count;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

}  // namespace

DownloadPlan plan_download(const SourceConfig& source, const std::filesystem::path& data_root,
                           Digests take) {
  DownloadPlan plan;
  plan.data_root = data_root;
  plan.shards = list_shards(source);
  FileDigests digests(data_root);
  parallel_for(plan.shards.size(), [&](std::size_t i) {
    ShardRef& shard = plan.shards[i];
    if (shard.local.empty() || !shard.hash.empty()) return;
    shard.hash = take == Digests::take ? digests.sha256(shard.local) : digests.known(shard.local);
    shard.hash_kind = "sha256";
  });
  const bool all_known = std::ranges::none_of(plan.shards, [](const ShardRef& shard) {
    return !shard.local.empty() && shard.hash.empty();
  });
  if (all_known) {
    plan.digest = digest_of(*make_source(source), plan.shards);
    plan.folder = data_root / "shards" / plan.digest;
  }
  if (source.max_shards != 0 && plan.shards.size() > source.max_shards)
    plan.shards.resize(static_cast<std::size_t>(source.max_shards));
  return plan;
}

std::string to_text(const DownloadPlan& plan) {
  Fields fields;
  for (const std::string& field : {plan.digest, plan.folder.string(), plan.data_root.string(),
                                   std::to_string(plan.shards.size())})
    fields.put(field);
  for (const ShardRef& shard : plan.shards)
    for (const std::string& field : {shard.name, shard.url, std::to_string(shard.bytes), shard.hash,
                                     shard.hash_kind, shard.local.string()})
      fields.put(field);
  return fields.text();
}

DownloadPlan download_plan_from_text(const std::string& text) {
  Fields fields(text);
  DownloadPlan plan;
  plan.digest = fields.take();
  plan.folder = fields.take();
  plan.data_root = fields.take();
  const std::uint64_t shards = fields.take_count();
  for (std::uint64_t i = 0; i < shards; ++i) {
    ShardRef& shard = plan.shards.emplace_back();
    shard.name = fields.take();
    shard.url = fields.take();
    shard.bytes = fields.take_count();
    shard.hash = fields.take();
    shard.hash_kind = fields.take();
    shard.local = fields.take();
  }
  return plan;
}

FetchOutcome fetch_shard(const DownloadPlan& plan, std::size_t i, Verify verify,
                         const std::function<void(std::uint64_t)>& advanced) {
  const ShardRef& shard = plan.shards.at(i);
  const fs::path file = plan.folder / shard.name;
  const auto tick = [&advanced] {
    if (advanced) advanced(0);
  };
  if (const auto known = whole_shard(plan, shard, verify, tick)) return {*known, false};
  const Claim claim = claim_of(file, "download", tick);
  if (const auto known = whole_shard(plan, shard, verify, tick)) return {*known, false};
  auto found = adopt(plan, shard, tick);
  const bool fetched = !found;
  if (fetched) {
    if (fs::exists(file))
      warn(fmt::format("{} is not what was fetched; fetching it again", file.string()));
    FetchOptions options;
    options.advanced = advanced;
    options.before_rename = [&claim] { expect_own(claim.mark()); };
    const FetchedFile result = fetch(shard, file, options);
    FileDigests(plan.data_root).remember(file, result.sha256);
    found = FetchedShard{shard.name, shard.url, result.bytes, result.sha256};
  }
  expect_own(claim.mark());
  write_file(record_path(plan.folder, shard.name), to_json(*found).dump(1) + "\n");
  return {*found, fetched};
}

void write_index(const DownloadPlan& plan) {
  ordered_json shards = ordered_json::array();
  for (const ShardRef& shard : plan.shards)
    shards.push_back(to_json(fetched_shard(plan.folder, shard.name)));
  const ordered_json index = {{"schema", "shards"},
                              {"version", kSchemaVersion},
                              {"digest", plan.digest},
                              {"shards", shards}};
  const std::string text = index.dump(1) + "\n";
  const fs::path path = plan.folder / "index.json";
  if (fs::exists(path) && read_file(path) == text) return;
  const Claim claim = claim_of(path, "download", {});
  write_file(path, text);
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
  const auto record = read_record(folder, name);
  if (!record || !has_size(folder / name, record->bytes))
    throw DataError("shard {} is not in {}; run `refract download` with this configuration first",
                    name, folder.string());
  return *record;
}

}  // namespace refract
