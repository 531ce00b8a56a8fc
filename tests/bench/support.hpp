#pragma once
#include <benchmark/benchmark.h>

#include <span>

#include "refract/base/random.hpp"

namespace refract::bench {

inline void fill(std::span<float> values, std::uint64_t seed) {
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
}

// Work done per iteration, as rates.
inline void report(benchmark::State& state, double rows, double flops, double bytes) {
  const auto rate = [](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  if (rows > 0) state.counters["rows/s"] = rate(rows);
  if (flops > 0) state.counters["FLOP/s"] = rate(flops);
  if (bytes > 0) state.counters["bytes/s"] = rate(bytes);
}

}  // namespace refract::bench
