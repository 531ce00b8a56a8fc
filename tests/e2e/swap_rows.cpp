// swap_rows identity|activations CHUNK ROW ROW: exchanges what two rows of a sealed chunk say, and
// writes the file anew with checksums that agree. Only recomputing the rows can find it (SPEC
// section 7).
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/store/chunk.hpp"

namespace {

void swap_identity(refract::RowIdentity& rows, std::size_t a, std::size_t b) {
  std::swap(rows.context[a], rows.context[b]);
  std::swap(rows.position[a], rows.position[b]);
  std::swap(rows.token[a], rows.token[b]);
  std::swap(rows.document[a], rows.document[b]);
  std::swap(rows.document_position[a], rows.document_position[b]);
  std::swap(rows.excluded[a], rows.excluded[b]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: swap_rows identity|activations CHUNK ROW ROW\n", stderr);
    return 2;
  }
  const bool identity = std::string_view(argv[1]) == "identity";
  const std::filesystem::path path = argv[2];
  std::size_t a = std::strtoull(argv[3], nullptr, 10), b = std::strtoull(argv[4], nullptr, 10);

  const refract::ChunkReader reader(path);
  const refract::ChunkSpec& spec = reader.spec();
  refract::RowIdentity rows = reader.read_identity();
  if (identity) swap_identity(rows, a, b);

  refract::Communicator self = refract::Communicator::loopback();
  const std::filesystem::path changed = path.string() + ".changed";
  refract::ChunkWriter writer = refract::ChunkWriter::collective_open(changed, spec, self);
  for (std::uint64_t block = 0; block < spec.blocks(); ++block) {
    const std::uint64_t first = block * spec.block_rows, count = spec.rows_of_block(block);
    std::vector<std::vector<float>> activations;
    std::vector<std::vector<std::uint8_t>> excluded;
    std::vector<refract::HookRows> hooks;
    for (std::size_t hook = 0; hook < spec.hooks.size(); ++hook) {
      const std::size_t d_in = spec.hooks[hook].d_in;
      std::vector<float>& values = activations.emplace_back(count * d_in);
      reader.read_rows(hook, first, count, values);
      reader.read_hook_excluded(hook, first, count, excluded.emplace_back(count));
      if (!identity && block == a / spec.block_rows && block == b / spec.block_rows)
        for (std::size_t d = 0; d < d_in; ++d)
          std::swap(values[(a - first) * d_in + d], values[(b - first) * d_in + d]);
    }
    for (std::size_t hook = 0; hook < spec.hooks.size(); ++hook)
      hooks.push_back({.activations = activations[hook], .excluded = excluded[hook]});
    writer.write_block(block, rows.rows(first, count), hooks);
  }
  writer.collective_seal();
  std::filesystem::rename(changed, path);
  return 0;
}
