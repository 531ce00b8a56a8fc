#include "refract/stages/extract.hpp"

#include <algorithm>

#include "refract/base/stop.hpp"
#include "refract/order/sample_order.hpp"

namespace refract {

Extraction collective_extract(const std::filesystem::path& path, const ChunkSpec& spec,
                              const std::function<BlockPlan(std::uint64_t)>& plan_of,
                              BlockComputer& computer, const ExtractHooks& hooks,
                              Communicator& ranks) {
  ChunkWriter writer = ChunkWriter::collective_open(path, spec, ranks);
  Extraction extraction;
  Stream stream;
  const Share share = share_of(spec.blocks(), ranks.rank(), ranks.size());
  for (std::uint64_t b = share.first; b < share.first + share.count; ++b) {
    if (stop_requested()) break;
    if (!std::ranges::binary_search(writer.good_blocks(), b)) {
      const BlockRows rows = computer.compute(plan_of(b), stream);
      writer.write_block(b, rows.identity, hook_rows(rows));
      extraction.made = true;
    }
    if (hooks.after_block)
      hooks.after_block(spec.rows_of_block(b) * static_cast<std::uint64_t>(ranks.size()));
  }
  extraction.made = ranks.all_reduce_max(extraction.made ? 1 : 0) != 0;
  extraction.stopped = ranks.all_reduce_max(stop_requested() ? 1 : 0) != 0;
  if (extraction.stopped) {
    writer.collective_close();
    return extraction;
  }
  if (ranks.rank() == 0 && hooks.before_seal) hooks.before_seal();
  extraction.digest = writer.collective_seal();
  return extraction;
}

}  // namespace refract
