#pragma once
// A set of numbers that mostly follow each other (shards done, chunks sealed), kept as runs: what
// it costs depends on the number of gaps, not on how many numbers are in it.
#include <cstdint>
#include <initializer_list>
#include <map>
#include <vector>

namespace refract {

class NumberSet {
 public:
  NumberSet() = default;
  NumberSet(std::initializer_list<std::uint64_t> numbers) {
    for (const std::uint64_t number : numbers) insert(number);
  }

  void insert(std::uint64_t number);  // nothing where it is in already
  void erase(std::uint64_t number);   // nothing where it is not
  [[nodiscard]] bool contains(std::uint64_t number) const {
    return first_missing(number) != number;
  }
  [[nodiscard]] bool empty() const { return runs_.empty(); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Of a set that is not empty.
  [[nodiscard]] std::uint64_t front() const { return runs_.begin()->first; }
  [[nodiscard]] std::uint64_t back() const { return runs_.rbegin()->second - 1; }
  // The lowest number from `from` on that is not in.
  [[nodiscard]] std::uint64_t first_missing(std::uint64_t from) const;
  // Those from `from` on, ascending.
  [[nodiscard]] std::vector<std::uint64_t> from(std::uint64_t from) const;

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;  // first -> one behind the last
  std::uint64_t size_ = 0;
};

}  // namespace refract
