#include "comm/gpu_of_rank.hpp"

#include <fmt/format.h>

namespace refract {

std::string gpu_conflict(std::span<const GpuOfRank> ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (ranks[r].bus_id[0] == '\0')
      return fmt::format(
          "rank {} on host {} cannot use its GPU: {}. Start no more ranks on a host than it has "
          "GPUs, and check CUDA_VISIBLE_DEVICES.",
          r, ranks[r].host.data(), ranks[r].failure.data());
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t other = 0; other < r; ++other)
      if (ranks[r].host == ranks[other].host && ranks[r].bus_id == ranks[other].bus_id)
        return fmt::format(
            "ranks {} and {} share GPU {} of host {}, and NCCL needs one GPU for each rank. Start "
            "no more ranks on a host than it has GPUs, or give each rank its own device.",
            other, r, ranks[r].bus_id.data(), ranks[r].host.data());
  return {};
}

}  // namespace refract
