#include "refract/store/manifest.hpp"

#include <fmt/chrono.h>

#include <chrono>
#include <iterator>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

// A YAML double-quoted scalar: any text at all survives it.
std::string yaml_text(std::string_view text) {
  std::string out = "\"";
  for (const char character : text) {
    if (character == '"' || character == '\\')
      out += '\\', out += character;
    else if (static_cast<unsigned char>(character) < 0x20)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(character));
    else
      out += character;
  }
  return out + '"';
}

}  // namespace

std::string store_digest(std::string_view settings, std::string_view calibration_digest) {
  return short_digest(fmt::format("store 2\n{}\ncalibration {}\n", settings, calibration_digest));
}

std::string extend_digest(std::string_view running, std::string_view chunk_digest) {
  return short_digest(fmt::format("{} {}", running, chunk_digest));
}

std::string manifest_text(const StoreManifest& manifest, std::string_view last_updated) {
  std::string text =
      "# An activation store of refract. Written for readers; refract itself trusts the files.\n";
  const auto out = std::back_inserter(text);
  fmt::format_to(out,
                 "schema: activation-store\nversion: {}\nmodel_name: {}\nmodel_version: "
                 "{}\nlast_updated: {}\n",
                 kSchemaVersion, yaml_text(manifest.model_name), yaml_text(manifest.model_version),
                 yaml_text(last_updated));
  fmt::format_to(out, "tokenizer_digest: {}\nstore_digest: {}\ncalibration_digest: {}\n",
                 yaml_text(manifest.tokenizer_digest), yaml_text(manifest.store_digest),
                 yaml_text(manifest.calibration_digest));
  fmt::format_to(out, "dtype: {}\nrow_rule: {}\ncontext_length: {}\nchunks: {}\nrows: {}\n",
                 name(manifest.dtype), yaml_text(manifest.row_rule), manifest.context_length,
                 manifest.chunks, manifest.rows);
  for (const auto& [key, value] : manifest.more)
    fmt::format_to(out, "{}: {}\n", key, yaml_text(value));
  text += manifest.hooks.empty() ? "hooks: []\n" : "hooks:\n";
  for (const HookColumn& hook : manifest.hooks)
    fmt::format_to(out, "  - {{name: {}, d_in: {}}}\n", yaml_text(hook.name), hook.d_in);
  fmt::format_to(out, "files_processed: {}\nfiles: {}\n", manifest.files_processed,
                 yaml_text("../corpus.json"));
  return text;
}

void write_manifest(const fs::path& path, const StoreManifest& manifest) {
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  write_file(path, manifest_text(manifest, fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now))));
}

std::string chunk_line(const SealedChunk& chunk) {
  return fmt::format(
      R"({{"chunk":{},"file":"{}.h5","rows":{},"bytes":{},"digest":"{}","evicted":{}}})",
      chunk.chunk, chunk_name(chunk.chunk), chunk.rows, chunk.bytes, chunk.digest, chunk.evicted);
}

void write_chunk_list(const fs::path& path, const std::vector<SealedChunk>& chunks) {
  std::string text;
  for (const SealedChunk& chunk : chunks) text += chunk_line(chunk) + "\n";
  std::error_code ignored;
  if (!fs::exists(path, ignored) || read_file(path) != text) write_file(path, text);
}

void append_chunk(const fs::path& path, const SealedChunk& chunk) {
  AppendLog(path).append(chunk_line(chunk));
}

}  // namespace refract
