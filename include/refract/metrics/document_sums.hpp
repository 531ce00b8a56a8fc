#pragma once
// What a document's rows add up to (or those of several, where a unit of the bootstrap has
// several): everything that a metric of reconstruction or sparsity needs, linear in the rows, so
// that a sample of documents is a weighted sum of these.
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// n rows and what was made of them. Entries row_starts[i] .. row_starts[i+1] are the active
// features of row i with their values, features ascending, zeros left out.
struct MetricRows {
  TensorView<const float> x, x_hat;           // [n, D]
  std::span<const std::uint64_t> row_starts;  // [n + 1]; empty: nothing is known of features
  std::span<const std::uint32_t> features;
  std::span<const float> values;
  std::span<const std::uint64_t> documents;  // [n], or other units
  std::span<const std::uint8_t> included;    // [n]; 0 = the row takes part in nothing
};

// Sums over rows of one number each. A row of norm 0 has neither ratio nor cosine and adds nothing
// to these; `sized` counts the others.
struct RowSums {
  enum Index : std::size_t {
    squared_error,   // |x - x_hat|^2
    squared_norm,    // |x|^2
    squared_hat,     // |x_hat|^2
    product,         // x . x_hat
    norm,            // |x|
    norm_hat,        // |x_hat|
    sized,           // 1
    norm_ratio,      // |x_hat| / |x|
    cosine,          // of x and x_hat
    explained,       // 1 - |x - x_hat|^2 / |x - reference|^2
    with_reference,  // 1, of rows that differ from the reference
    active,          // active features
    count
  };
  std::array<double, count> of{};
  double operator[](Index index) const { return of[index]; }
  double& operator[](Index index) { return of[index]; }
};

struct ActiveCount {
  std::uint32_t active, rows;  // so many rows with so many active features
};
struct FeatureSum {
  std::uint32_t feature, rows;  // in which it is active
  double mass;                  // sum of its absolute values
};

struct DocumentSums {
  std::uint64_t rows = 0;
  RowSums sums;
  // [D]: sums of x - reference, of x - x_hat, and of their squares.
  std::vector<double> x, e, xx, ee;
  std::vector<ActiveCount> active;   // ascending
  std::vector<FeatureSum> features;  // ascending
};

// Adds rows up, document by document. Every sum goes through its rows in the order they are given,
// so the bytes depend neither on threads nor on how rows are cut into calls.
// Memory: documents x (32 D B + 16 B for each feature that fires in it).
class DocumentTable {
 public:
  // reference [D]: what RowSums::explained compares with, and what x is summed about: near the
  // mean, so that its square takes no digits from the variance. d_sae 0: features are not looked
  // at.
  DocumentTable(std::span<const float> reference, std::size_t d_sae);
  void add(const MetricRows& rows);
  [[nodiscard]] const std::map<std::uint64_t, DocumentSums>& documents() const {
    return documents_;
  }
  [[nodiscard]] std::size_t d_in() const { return reference_.size(); }
  [[nodiscard]] std::size_t d_sae() const { return d_sae_; }

  // The table as plain words, for another process; add_packed() takes those of several, one after
  // the other, none of which has a document of another.
  [[nodiscard]] std::vector<std::uint64_t> packed() const;
  void add_packed(std::span<const std::uint64_t> words);

 private:
  std::vector<float> reference_;
  std::size_t d_sae_;
  std::map<std::uint64_t, DocumentSums> documents_;
};

}  // namespace refract
