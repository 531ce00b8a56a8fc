// Source `file:<pattern>`: shards that lie on this machine already, reached as file:// URLs so that
// they take the same way as remote ones.
#include <glob.h>

#include <algorithm>
#include <memory>

#include "corpus/source_table.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

std::vector<fs::path> files_matching(const std::string& pattern) {
  glob_t found{};
  const int code = glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> files;
  if (code == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i)
      if (fs::is_regular_file(found.gl_pathv[i])) files.emplace_back(found.gl_pathv[i]);
  globfree(&found);
  return files;
}

std::string file_url(const fs::path& path) {
  std::string url = "file://";
  for (const char c : fs::absolute(path).lexically_normal().string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/-_.~").find(c) != std::string_view::npos;
    url += plain ? std::string(1, c)
                 : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return url;
}

class FileSource : public DocumentSource {
 public:
  explicit FileSource(std::string pattern) : pattern_(std::move(pattern)) {
    if (fs::is_directory(pattern_)) pattern_ = (fs::path(pattern_) / "*.jsonl*").string();
  }

  std::vector<ShardRef> list_shards() const override {
    auto files = files_matching(pattern_);
    if (files.empty())
      throw ConfigError(
          "source.from is 'file:{}', but no file matches; check the path (relative to {})",
          pattern_, fs::current_path().string());
    std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
      return shard_name_less(a.filename().string(), b.filename().string());
    });
    std::vector<ShardRef> shards;
    for (const fs::path& file : files)
      shards.push_back({.name = file.filename().string(),
                        .url = file_url(file),
                        .bytes = fs::file_size(file),
                        .hash = "",
                        .hash_kind = "",
                        .local = file});
    return shards;
  }

  std::string identity() const override { return "file"; }

 private:
  std::string pattern_;
};

}  // namespace

std::unique_ptr<DocumentSource> make_file_source(std::string_view place) {
  return std::make_unique<FileSource>(std::string(place));
}

}  // namespace refract
