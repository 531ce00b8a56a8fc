#pragma once
// How well and how sparsely x is reconstructed, from fp64 sums kept for each document, so that a
// bootstrap over documents gives the interval of every number: rows of one document are not
// independent.
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// n rows and what an SAE made of them. Entries row_starts[i] .. row_starts[i+1] are the active
// features of row i.
struct MetricRows {
  TensorView<const float> x, x_hat;           // [n, D]
  std::span<const std::uint64_t> row_starts;  // [n + 1]; empty without features (PCA)
  std::span<const std::uint32_t> features;
  std::span<const std::uint64_t> documents;  // [n]
  std::span<const std::uint8_t> included;    // [n]; 0 = the row takes part in nothing
};

struct DocumentSums {
  std::uint64_t rows = 0;
  double squared_error = 0, squared_norm = 0, active = 0;
  std::vector<double> sum_x, sum_e;  // [D]
  std::vector<std::uint64_t> fired;  // bit f: feature f fired
};

struct MetricValue {
  std::string name;
  double value = 0, low = 0, high = 0;  // 95 % interval
};
// A value with the interval of its replicates; those in which the metric has no meaning (nullopt)
// are left out. NumericalError naming `of` and the metric unless all of them are finite and there
// are both.
[[nodiscard]] MetricValue metric_value(std::string_view of, std::string_view name,
                                       std::optional<double> value,
                                       std::span<const std::optional<double>> replicates);

struct MetricReport {
  std::uint64_t rows = 0, documents = 0;
  std::vector<MetricValue> values;  // in the order of metric_table.hpp
  [[nodiscard]] const MetricValue& of(
      std::string_view name) const;  // SystemError when there is none
};

// Memory: documents x (2 D x 8 B + F / 8 B). Sums of a document are added in the order its rows are
// given, so bytes do not depend on threads.
class ReconstructionSums {
 public:
  ReconstructionSums(std::size_t d_in, std::size_t d_sae);
  void add(const MetricRows& rows);
  // The sums as plain words, for another process; add_packed() takes those of several, one after
  // the other. Where no document is divided between them the result is that of one.
  [[nodiscard]] std::vector<std::uint64_t> packed() const;
  void add_packed(std::span<const std::uint64_t> words);
  // Every metric of the table, with `replicates` bootstrap samples of the documents. d_sae 0: no
  // sparsity metrics. NumericalError naming `of` ("SAE 'small'") when no row took part, or a metric
  // is not finite.
  [[nodiscard]] MetricReport report(std::string_view of, std::uint64_t seed,
                                    std::size_t replicates = 1000) const;
  [[nodiscard]] const std::map<std::uint64_t, DocumentSums>& documents() const {
    return documents_;
  }

 private:
  std::size_t d_in_, d_sae_;
  std::map<std::uint64_t, DocumentSums> documents_;
};

}  // namespace refract
