#include "refract/pipeline/clean.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/run_registry.hpp"
#include "refract/store/claim.hpp"

namespace refract {
namespace {

constexpr std::string_view kClaim = ".claim", kPart = ".part";

// Sorted, so that the text is the same twice.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(fs::symlink_status(path, ignored));
}

// The first live claim in a folder, as a note.
std::optional<std::string> claimed_below(const fs::path& folder) {
  for (const fs::path& entry : entries_of(folder)) {
    if (is_folder(entry)) {
      if (auto found = claimed_below(entry)) return found;
    } else if (entry.extension() == kClaim) {
      if (const auto owner = claim_owner(entry))
        return fmt::format("{} is kept: {} writes there", folder.string(), *owner);
    }
  }
  return std::nullopt;
}

class Planner {
 public:
  explicit Planner(fs::path data_root) : root_(std::move(data_root)) {
    for (const RegisteredRun& run : registered_runs(root_)) {
      if (is_folder(run.run))
        named_.insert(run.folders.begin(), run.folders.end());
      else
        plan_.notes.push_back(
            fmt::format("the run {} no longer exists, so it names nothing", run.run.string()));
    }
  }

  CleanPlan plan() {
    for (const char* kind : {"shards", "tokens"})
      for (const fs::path& folder : entries_of(root_ / kind)) look_at(folder);
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool is_named(const fs::path& folder) const {
    return named_.contains(folder.lexically_relative(root_).generic_string());
  }

  void look_at(const fs::path& path) {
    if (!is_folder(path)) return look_at_file(path);
    if (!is_named(path)) return add_folder(path);
    for (const fs::path& entry : entries_of(path)) look_at(entry);
  }

  void add_folder(const fs::path& folder) {
    if (const auto note = claimed_below(folder))
      plan_.notes.push_back(*note);
    else
      plan_.leftovers.push_back({folder, bytes_below(folder), "no run names it"});
  }

  void look_at_file(const fs::path& file) {
    const bool part = file.extension() == kPart;
    if (!part && file.extension() != kClaim) return;
    fs::path claimed = file;
    claimed.replace_extension();
    std::error_code gone;
    const std::uint64_t bytes = fs::file_size(file, gone);
    if (gone) return;
    if (const auto owner = claim_owner(claim_name(claimed)))
      plan_.notes.push_back(fmt::format("{} is kept: {} writes it", file.string(), *owner));
    else
      plan_.leftovers.push_back(
          {file, bytes,
           part ? "left by a write that was cut short" : "a claim whose owner is gone"});
  }

  fs::path root_;
  std::set<std::string> named_;
  CleanPlan plan_;
};

std::string text_of(const CleanPlan& plan, const fs::path& data_root, bool removed) {
  std::string text;
  std::uint64_t bytes = 0;
  for (const Leftover& leftover : plan.leftovers) {
    text += fmt::format("  {:>10}  {}  ({})\n", human_bytes(leftover.bytes), leftover.path.string(),
                        leftover.why);
    bytes += leftover.bytes;
  }
  for (const std::string& note : plan.notes) text += fmt::format("  {}\n", note);
  if (plan.leftovers.empty())
    return text + fmt::format("{} holds nothing that no run names\n", data_root.string());
  return text + fmt::format("{} item(s), {}, {}\n", plan.leftovers.size(), human_bytes(bytes),
                            removed ? "removed" : "could be removed: add --yes to do it");
}

}  // namespace

CleanPlan plan_clean(const fs::path& data_root) {
  return Planner(fs::weakly_canonical(fs::absolute(data_root))).plan();
}

std::string clean(const fs::path& data_root, bool remove) {
  const fs::path registry = run_registry(data_root);
  std::error_code ignored;
  if (!fs::exists(registry, ignored))
    return fmt::format(
        "{} is not there: no run has registered with {}, so nothing is known to be left over\n",
        registry.string(), data_root.string());
  std::string owner;
  const auto claim = Claim::try_take(claim_name(registry), job_name(), owner);
  if (!claim)
    throw SystemError(
        "{} is held by {}, which registers or cleans. Try again when it has finished.",
        registry.string(), owner);
  const CleanPlan plan = plan_clean(data_root);
  if (remove)
    for (const Leftover& leftover : plan.leftovers) {
      std::error_code error;
      fs::remove_all(leftover.path, error);
      if (error) throw_file_error("removing", leftover.path, error.value());
    }
  return text_of(plan, data_root, remove);
}

}  // namespace refract
