#pragma once
// Which ranks share a host and its cores, and how many threads each may have so that none
// oversubscribes by accident.
#include <span>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"

namespace refract {

// cores[r]: the cores rank r may run on, by number, of the ranks of one host. A core that several
// ranks may use is theirs in equal parts; a rank has a thread for every whole core that is its own,
// at least one.
[[nodiscard]] int fair_threads(std::span<const std::vector<int>> cores, std::size_t rank);

struct Placement {
  int ranks = 1, hosts = 1;
  int local_ranks = 1, local_cores = 1;  // of this rank's host
  int fair_threads = 1;
  // "4 ranks x 1 thread on 1 host (2 cores, oversubscribed: 4 > 2)"
  [[nodiscard]] std::string text(int threads) const;
};

[[nodiscard]] Placement collective_placement(Communicator& world);

// A line per rank on rank 0, for `refract doctor`: "rank 3 node7 cores 24-31 8 threads". threads:
// of each rank; 0 = its fair share.
[[nodiscard]] std::string collective_places(Communicator& world, int threads);

// "0-3,8" of 0 1 2 3 8.
[[nodiscard]] std::string as_ranges(std::span<const int> sorted);

}  // namespace refract
