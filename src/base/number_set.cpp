#include "refract/base/number_set.hpp"

#include <algorithm>
#include <iterator>

namespace refract {

void NumberSet::insert(std::uint64_t number) {
  if (contains(number)) return;
  ++size_;
  std::uint64_t end = number + 1;
  if (const auto next = runs_.find(end); next != runs_.end()) {
    end = next->second;
    runs_.erase(next);
  }
  const auto after = runs_.lower_bound(number);
  if (after != runs_.begin() && std::prev(after)->second == number)
    std::prev(after)->second = end;
  else
    runs_.emplace(number, end);
}

void NumberSet::erase(std::uint64_t number) {
  if (!contains(number)) return;
  --size_;
  const auto run = std::prev(runs_.upper_bound(number));
  const auto [first, end] = *run;
  runs_.erase(run);
  if (first < number) runs_.emplace(first, number);
  if (number + 1 < end) runs_.emplace(number + 1, end);
}

std::uint64_t NumberSet::first_missing(std::uint64_t from) const {
  const auto after = runs_.upper_bound(from);
  return after == runs_.begin() ? from : std::max(from, std::prev(after)->second);
}

std::vector<std::uint64_t> NumberSet::from(std::uint64_t from) const {
  std::vector<std::uint64_t> numbers;
  auto run = runs_.upper_bound(from);
  if (run != runs_.begin()) --run;
  for (; run != runs_.end(); ++run)
    for (std::uint64_t number = std::max(from, run->first); number < run->second; ++number)
      numbers.push_back(number);
  return numbers;
}

}  // namespace refract
