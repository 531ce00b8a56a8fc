#include "refract/comm/placement.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <map>
#include <thread>

#include "refract/comm/environment.hpp"

namespace refract {
namespace {

std::vector<int> my_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  // More cores than a cpu_set_t names: count them without their numbers.
  if (cores.empty())
    for (unsigned core = 0; core < std::max(1u, std::thread::hardware_concurrency()); ++core)
      cores.push_back(static_cast<int>(core));
  return cores;
}

std::map<int, int> ranks_by_core(std::span<const std::vector<int>> cores) {
  std::map<int, int> ranks;
  for (const std::vector<int>& of_rank : cores)
    for (const int core : of_rank) ++ranks[core];
  return ranks;
}

std::string plural(int count, const char* word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

}  // namespace

int fair_threads(std::span<const std::vector<int>> cores, std::size_t rank) {
  const std::map<int, int> ranks = ranks_by_core(cores);
  double share = 0;
  for (const int core : cores[rank]) share += 1.0 / ranks.at(core);
  return std::max(1, static_cast<int>(share + 1e-9));
}

std::string Placement::text(int threads) const {
  const std::string who = fmt::format("{} x {} on {}", plural(ranks, "rank"),
                                      plural(threads, "thread"), plural(hosts, "host"));
  const int wanted = local_ranks * threads;
  return fmt::format(
      "{} ({}{})", who, plural(local_cores, "core") + (hosts > 1 ? " each" : ""),
      wanted > local_cores ? fmt::format(", oversubscribed: {} > {}", wanted, local_cores) : "");
}

std::string as_ranges(std::span<const int> sorted) {
  std::string text;
  for (std::size_t i = 0; i < sorted.size();) {
    std::size_t last = i;
    while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", sorted[i]);
    if (last > i) text += fmt::format("-{}", sorted[last]);
    i = last + 1;
  }
  return text;
}

std::string collective_places(Communicator& world, int threads) {
  const Placement placement = collective_placement(world);
  const std::string mine =
      fmt::format("rank {:<5} {}  cores {}  {}\n", world.rank(), host_name(), as_ranges(my_cores()),
                  plural(threads > 0 ? threads : placement.fair_threads, "thread"));
  const std::vector<char> all = world.all_gather(std::span<const char>(mine));
  return {all.begin(), all.end()};
}

Placement collective_placement(Communicator& world) {
  Communicator host = world.node_local();
  const std::vector<int> mine = my_cores();
  const std::vector<int> all = host.all_gather(std::span<const int>(mine));
  const int my_count = static_cast<int>(mine.size());
  const std::vector<int> counts = host.all_gather(std::span<const int>(&my_count, 1));
  std::vector<std::vector<int>> cores;
  auto next = all.begin();
  for (const int count : counts) {
    cores.emplace_back(next, next + count);
    next += count;
  }
  std::uint64_t hosts = host.rank() == 0 ? 1 : 0;
  world.all_reduce_sum(std::span(&hosts, 1));
  return {.ranks = world.size(),
          .hosts = static_cast<int>(hosts),
          .local_ranks = host.size(),
          .local_cores = static_cast<int>(ranks_by_core(cores).size()),
          .fair_threads = fair_threads(cores, static_cast<std::size_t>(host.rank()))};
}

}  // namespace refract
