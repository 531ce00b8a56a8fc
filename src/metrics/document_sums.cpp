#include "refract/metrics/document_sums.hpp"

#include <bit>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// Independent sums, added in a fixed tree: every instruction set gives the same bytes.
constexpr std::size_t kLanes = 8;

double add_lanes(const double* lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

struct RowProducts {
  double xx, hh, xh, ee, cc;  // cc: |x - reference|^2
};

REFRACT_SIMD_CLONES
RowProducts products_of(const float* x, const float* x_hat, const float* reference, std::size_t n) {
  double xx[kLanes] = {}, hh[kLanes] = {}, xh[kLanes] = {}, ee[kLanes] = {}, cc[kLanes] = {};
  const auto add = [&](std::size_t i, std::size_t l) {
    const double a = static_cast<double>(x[i]), b = static_cast<double>(x_hat[i]);
    const double e = a - b, c = a - static_cast<double>(reference[i]);
    xx[l] += a * a;
    hh[l] += b * b;
    xh[l] += a * b;
    ee[l] += e * e;
    cc[l] += c * c;
  };
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) add(i + l, l);
  for (std::size_t l = 0; i + l < n; ++l) add(i + l, l);
  return {add_lanes(xx), add_lanes(hh), add_lanes(xh), add_lanes(ee), add_lanes(cc)};
}

REFRACT_SIMD_CLONES
void add_columns(const float* x, const float* x_hat, const float* reference, std::size_t n,
                 double* sum_x, double* sum_e, double* sum_xx, double* sum_ee) {
  for (std::size_t d = 0; d < n; ++d) {
    const double a = static_cast<double>(x[d]), e = a - static_cast<double>(x_hat[d]),
                 c = a - static_cast<double>(reference[d]);
    sum_x[d] += c;
    sum_e[d] += e;
    sum_xx[d] += c * c;
    sum_ee[d] += e * e;
  }
}

void add_row(std::span<const float> x, std::span<const float> x_hat,
             std::span<const float> reference, DocumentSums& sums) {
  const RowProducts p = products_of(x.data(), x_hat.data(), reference.data(), x.size());
  add_columns(x.data(), x_hat.data(), reference.data(), x.size(), sums.x.data(), sums.e.data(),
              sums.xx.data(), sums.ee.data());
  const double norm = std::sqrt(p.xx), norm_hat = std::sqrt(p.hh);
  ++sums.rows;
  RowSums& s = sums.sums;
  s[RowSums::squared_error] += p.ee;
  s[RowSums::squared_norm] += p.xx;
  s[RowSums::squared_hat] += p.hh;
  s[RowSums::product] += p.xh;
  s[RowSums::norm] += norm;
  s[RowSums::norm_hat] += norm_hat;
  if (norm > 0) {
    s[RowSums::sized] += 1;
    s[RowSums::norm_ratio] += norm_hat / norm;
    if (norm_hat > 0) s[RowSums::cosine] += p.xh / (norm * norm_hat);
  }
  if (p.cc > 0) {
    s[RowSums::with_reference] += 1;
    s[RowSums::explained] += 1 - p.ee / p.cc;
  }
}

// One document's features, dense while its rows are added; as large as the dictionary, so each
// thread has one.
class FeatureScratch {
 public:
  void begin(std::size_t d_sae, const DocumentSums& sums) {
    if (rows_.size() < d_sae) {
      rows_.resize(d_sae, 0);
      mass_.resize(d_sae, 0.0);
      touched_.resize((d_sae + 63) / 64, 0);
    }
    for (const FeatureSum& f : sums.features) {
      touch(f.feature);
      rows_[f.feature] = f.rows;
      mass_[f.feature] = f.mass;
    }
    for (const ActiveCount& a : sums.active) active_[a.active] = a.rows;
  }
  void add(const MetricRows& rows, std::size_t row, DocumentSums& sums) {
    const std::uint64_t first = rows.row_starts[row], last = rows.row_starts[row + 1];
    sums.sums[RowSums::active] += static_cast<double>(last - first);
    ++active_[static_cast<std::uint32_t>(last - first)];
    for (std::uint64_t j = first; j < last; ++j) {
      const std::uint32_t feature = rows.features[j];
      touch(feature);
      ++rows_[feature];
      mass_[feature] += std::abs(static_cast<double>(rows.values[j]));
    }
  }
  void end(DocumentSums& sums) {
    sums.features.clear();
    for (std::size_t word = 0; word < touched_.size(); ++word)
      for (std::uint64_t bits = touched_[word]; bits != 0; bits &= bits - 1) {
        const std::size_t f = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
        sums.features.push_back({static_cast<std::uint32_t>(f), rows_[f], mass_[f]});
        rows_[f] = 0;
        mass_[f] = 0;
      }
    std::ranges::fill(touched_, 0);
    sums.features.shrink_to_fit();
    sums.active.clear();
    for (const auto& [active, count] : active_) sums.active.push_back({active, count});
    active_.clear();
  }

 private:
  void touch(std::uint32_t feature) {
    touched_[feature / 64] |= std::uint64_t{1} << (feature % 64);
  }
  std::vector<std::uint32_t> rows_;
  std::vector<double> mass_;
  std::vector<std::uint64_t> touched_;
  std::map<std::uint32_t, std::uint32_t> active_;
};

void resize(DocumentSums& sums, std::size_t d_in) {
  for (std::vector<double>* columns : {&sums.x, &sums.e, &sums.xx, &sums.ee})
    columns->resize(d_in, 0.0);
}

std::uint64_t pair_of(std::uint32_t high, std::uint32_t low) {
  return std::uint64_t{high} << 32 | low;
}

}  // namespace

DocumentTable::DocumentTable(std::span<const float> reference, std::size_t d_sae)
    : reference_(reference.begin(), reference.end()), d_sae_(d_sae) {}

void DocumentTable::add(const MetricRows& rows) {
  const std::size_t n = rows.x.axis(0);
  expect_shape(rows.x, "x", {{"n", n}, {"D", d_in()}});
  expect_shape(rows.x_hat, "x_hat", {{"n", n}, {"D", d_in()}});
  REFRACT_ASSERT(rows.documents.size() == n && rows.included.size() == n,
                 "n {} documents {} included {}", n, rows.documents.size(), rows.included.size());
  const bool has_features = d_sae_ != 0 && !rows.row_starts.empty();
  std::map<std::uint64_t, std::vector<std::uint32_t>> rows_of;
  for (std::size_t row = 0; row < n; ++row)
    if (rows.included[row] != 0)
      rows_of[rows.documents[row]].push_back(static_cast<std::uint32_t>(row));
  std::vector<std::pair<DocumentSums*, const std::vector<std::uint32_t>*>> work;
  for (const auto& [document, of] : rows_of) {
    DocumentSums& sums = documents_[document];
    resize(sums, d_in());
    work.emplace_back(&sums, &of);
  }
  parallel_for(work.size(), [&](std::size_t i) {
    thread_local FeatureScratch scratch;
    DocumentSums& sums = *work[i].first;
    if (has_features) scratch.begin(d_sae_, sums);
    for (const std::uint32_t row : *work[i].second) {
      add_row(rows.x.row(row), rows.x_hat.row(row), reference_, sums);
      if (has_features) scratch.add(rows, row, sums);
    }
    if (has_features) scratch.end(sums);
  });
}

// A document: id, rows, its sums, x, e, xx, ee, and the two lists, each behind its length.
std::vector<std::uint64_t> DocumentTable::packed() const {
  std::vector<std::uint64_t> words;
  const auto put = [&](double value) { words.push_back(std::bit_cast<std::uint64_t>(value)); };
  for (const auto& [document, sums] : documents_) {
    words.push_back(document);
    words.push_back(sums.rows);
    for (const double value : sums.sums.of) put(value);
    for (const auto* columns : {&sums.x, &sums.e, &sums.xx, &sums.ee})
      for (const double value : *columns) put(value);
    words.push_back(sums.active.size());
    for (const ActiveCount& a : sums.active) words.push_back(pair_of(a.active, a.rows));
    words.push_back(sums.features.size());
    for (const FeatureSum& f : sums.features) {
      words.push_back(pair_of(f.feature, f.rows));
      put(f.mass);
    }
  }
  return words;
}

void DocumentTable::add_packed(std::span<const std::uint64_t> words) {
  std::size_t at = 0;
  const auto real = [&] { return std::bit_cast<double>(words[at++]); };
  const auto high = [](std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); };
  const auto low = [](std::uint64_t word) { return static_cast<std::uint32_t>(word); };
  while (at < words.size()) {
    const std::uint64_t document = words[at++];
    const auto [entry, is_new] = documents_.try_emplace(document);
    REFRACT_ASSERT(is_new, "document {} was added by two", document);
    DocumentSums& sums = entry->second;
    resize(sums, d_in());
    sums.rows = words[at++];
    for (double& value : sums.sums.of) value = real();
    for (auto* columns : {&sums.x, &sums.e, &sums.xx, &sums.ee})
      for (double& value : *columns) value = real();
    sums.active.resize(words[at++]);
    for (ActiveCount& a : sums.active) {
      a = {high(words[at]), low(words[at])};
      ++at;
    }
    sums.features.resize(words[at++]);
    for (FeatureSum& f : sums.features) {
      const std::uint64_t word = words[at++];
      f = {high(word), low(word), real()};
    }
  }
}

}  // namespace refract
