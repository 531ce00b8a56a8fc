#include "refract/pipeline/cluster_site.hpp"

#include <fmt/ranges.h>

#include <cctype>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// $NAME and ${NAME}, as bash would, from this environment.
std::string expanded(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '$') {
      out += text[at++];
      continue;
    }
    const bool braced = at + 1 < text.size() && text[at + 1] == '{';
    std::size_t end = at + (braced ? 2 : 1);
    const std::size_t begin = end;
    while (end < text.size() && is_name(text[end])) ++end;
    const char* value = std::getenv(text.substr(begin, end - begin).c_str());
    out += value ? value : "";
    at = braced && end < text.size() ? end + 1 : end;
  }
  return out;
}

// KEY=value or KEY="value"; nothing where the line is neither.
struct Line {
  std::string key, value;
};
std::optional<Line> line_of(std::string text) {
  while (text.ends_with(' ') || text.ends_with('\t')) text.pop_back();
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return std::nullopt;
  Line line{text.substr(0, equals), text.substr(equals + 1)};
  std::string& value = line.value;
  if (value.starts_with('"')) {
    if (value.size() < 2 || value.find('"', 1) != value.size() - 1) return std::nullopt;
    value = value.substr(1, value.size() - 2);
  } else if (value.find_first_of(" \t\r\"'|&;<>()`\\") != std::string::npos) {
    return std::nullopt;
  }
  return line;
}

bool yes(const std::string& value, const std::string& place) {
  if (value == "yes") return true;
  if (value == "no") return false;
  throw ConfigError("{} is '{}'; expected yes or no", place, value);
}

}  // namespace

ClusterSite read_cluster_site(const fs::path& file) {
  ClusterSite site;
  std::string scratch, requeue = "yes", internet = "yes";
  // Those that bash evaluates when the job runs stand as they are.
  const std::map<std::string, std::string*> evaluated_later{
      {"SITE_MODULES", &site.modules},
      {"SITE_SETUP", &site.setup},
      {"SITE_LAUNCHER_OPTIONS", &site.launcher_options},
      {"SITE_QUOTA_COMMAND", &site.quota_command}};
  const std::map<std::string, std::string*> now{
      {"SITE_ACCOUNT", &site.account},
      {"SITE_PARTITION", &site.partition},
      {"SITE_QOS", &site.qos},
      {"SITE_CONSTRAINT", &site.constraint},
      {"SITE_LAUNCHER", &site.launcher},
      {"SITE_SBATCH_OPTIONS", &site.sbatch_options},
      {"SITE_MPI", &site.mpi},
      {"SITE_REFRACT", &site.refract},
      {"SITE_GPUS", &site.gpus},
      {"SITE_SCRATCH", &scratch},
      {"SITE_REQUEUE", &requeue},
      {"SITE_INTERNET", &internet},
      {"SITE_DOWNLOAD_PARTITION", &site.download_partition}};
  std::istringstream text(read_file(file));
  std::size_t number = 0;
  for (std::string raw; std::getline(text, raw);) {
    ++number;
    const std::size_t begin = raw.find_first_not_of(" \t");
    if (begin == std::string::npos || raw[begin] == '#') continue;
    const std::string place = fmt::format("{}:{}", file.string(), number);
    const auto line = line_of(raw);
    if (!line)
      throw ConfigError(
          "{}: '{}' is neither KEY=value nor KEY=\"value\"; see jobs/site/example.env", place, raw);
    const auto later = evaluated_later.find(line->key), at = now.find(line->key);
    if (later != evaluated_later.end()) {
      *later->second = line->value;
    } else if (at != now.end()) {
      if (line->value.find_first_of("`\\") != std::string::npos ||
          line->value.find("$(") != std::string::npos)
        throw ConfigError("{}: {} holds a command or '\\'; write the value itself", place,
                          line->key);
      if (!line->value.empty()) *at->second = expanded(line->value);
    } else {
      std::vector<std::string> known;
      for (const auto& [key, value] : now) known.push_back(key);
      for (const auto& [key, value] : evaluated_later) known.push_back(key);
      throw ConfigError("{}: no key '{}'; there are {}", place, line->key, fmt::join(known, ", "));
    }
  }
  if (site.launcher != "mpirun" && site.launcher != "srun")
    throw ConfigError("{}: SITE_LAUNCHER is '{}'; expected mpirun or srun", file.string(),
                      site.launcher);
  site.scratch = scratch;
  if (!scratch.empty() && !site.scratch.is_absolute())
    throw ConfigError("{}: SITE_SCRATCH is '{}'; give it from / on", file.string(), scratch);
  site.requeue = yes(requeue, file.string() + ": SITE_REQUEUE");
  site.internet = yes(internet, file.string() + ": SITE_INTERNET");
  return site;
}

}  // namespace refract
