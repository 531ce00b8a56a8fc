#include "refract/metrics/power_moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kColumns = 64;  // of one thread: its sums stay in the nearest cache

struct Columns {
  std::span<double> mean, m2, m3, m4, min, max;  // [columns] each
};

REFRACT_SIMD_CLONES
void measure(const float* x, std::size_t n, std::size_t stride, const Columns& to) {
  const std::size_t columns = to.mean.size();
  for (std::size_t i = 0; i < n; ++i) {
    const float* row = x + i * stride;
    for (std::size_t j = 0; j < columns; ++j) {
      const auto value = static_cast<double>(row[j]);
      to.mean[j] += value;
      to.min[j] = value < to.min[j] ? value : to.min[j];
      to.max[j] = value > to.max[j] ? value : to.max[j];
    }
  }
  for (double& mean : to.mean) mean /= static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float* row = x + i * stride;
    for (std::size_t j = 0; j < columns; ++j) {
      const double off = static_cast<double>(row[j]) - to.mean[j], square = off * off;
      to.m2[j] += square;
      to.m3[j] += square * off;
      to.m4[j] += square * square;
    }
  }
}

}  // namespace

PowerMoments PowerMoments::of(TensorView<const float> x) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  PowerMoments out;
  out.n_ = static_cast<double>(n);
  for (std::vector<double>* values : {&out.mean_, &out.m2_, &out.m3_, &out.m4_})
    values->assign(d, 0.0);
  out.min_.assign(d, std::numeric_limits<double>::infinity());
  out.max_.assign(d, -std::numeric_limits<double>::infinity());
  if (n == 0) return out;
  parallel_for((d + kColumns - 1) / kColumns, [&](std::size_t block) {
    const std::size_t first = block * kColumns, count = std::min(kColumns, d - first);
    const auto of_block = [&](std::vector<double>& values) {
      return std::span(values).subspan(first, count);
    };
    measure(x.data() + first, n, d,
            {of_block(out.mean_), of_block(out.m2_), of_block(out.m3_), of_block(out.m4_),
             of_block(out.min_), of_block(out.max_)});
  });
  return out;
}

void PowerMoments::merge(const PowerMoments& other) {
  if (other.n_ == 0) return;
  if (n_ == 0) {
    *this = other;
    return;
  }
  REFRACT_ASSERT(mean_.size() == other.mean_.size(), "{} columns and {}", mean_.size(),
                 other.mean_.size());
  const double a = n_, b = other.n_, n = a + b;
  for (std::size_t j = 0; j < mean_.size(); ++j) {
    const double by = other.mean_[j] - mean_[j], by_n = by / n;
    const double m2 = m2_[j], m3 = m3_[j];
    const double other_m2 = other.m2_[j], other_m3 = other.m3_[j];
    m4_[j] += other.m4_[j] + by * by_n * by_n * by_n * a * b * (a * a - a * b + b * b) +
              6 * by_n * by_n * (a * a * other_m2 + b * b * m2) +
              4 * by_n * (a * other_m3 - b * m3);
    m3_[j] += other_m3 + by * by_n * by_n * a * b * (a - b) + 3 * by_n * (a * other_m2 - b * m2);
    m2_[j] += other_m2 + by * by_n * a * b;
    mean_[j] += by_n * b;
    min_[j] = std::min(min_[j], other.min_[j]);
    max_[j] = std::max(max_[j], other.max_[j]);
  }
  n_ = n;
}

void PowerMoments::pack(std::span<double> to) const {
  REFRACT_ASSERT(to.size() == packed_size(mean_.size()), "{} numbers for {} columns", to.size(),
                 mean_.size());
  to[0] = n_;
  auto at = to.begin() + 1;
  for (const std::vector<double>* values : {&mean_, &m2_, &m3_, &m4_, &min_, &max_})
    at = std::ranges::copy(*values, at).out;
}

PowerMoments PowerMoments::unpack(std::span<const double> from) {
  const std::size_t d = (from.size() - 1) / 6;
  REFRACT_ASSERT(from.size() == packed_size(d), "{} numbers", from.size());
  PowerMoments out;
  out.n_ = from[0];
  from = from.subspan(1);
  for (std::vector<double>* values :
       {&out.mean_, &out.m2_, &out.m3_, &out.m4_, &out.min_, &out.max_}) {
    values->assign(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(d));
    from = from.subspan(d);
  }
  return out;
}

std::vector<double> PowerMoments::standard_deviation() const {
  std::vector<double> out;
  for (const double m2 : m2_) out.push_back(std::sqrt(m2 / n_));
  return out;
}

std::vector<double> PowerMoments::skewness() const {
  std::vector<double> out;
  for (std::size_t j = 0; j < m2_.size(); ++j)
    out.push_back(m2_[j] > 0 ? std::sqrt(n_) * m3_[j] / (m2_[j] * std::sqrt(m2_[j]))
                             : std::numeric_limits<double>::quiet_NaN());
  return out;
}

std::vector<double> PowerMoments::excess_kurtosis() const {
  std::vector<double> out;
  for (std::size_t j = 0; j < m2_.size(); ++j)
    out.push_back(m2_[j] > 0 ? n_ * m4_[j] / (m2_[j] * m2_[j]) - 3
                             : std::numeric_limits<double>::quiet_NaN());
  return out;
}

std::vector<double> PowerMoments::second_moment() const {
  std::vector<double> out;
  for (std::size_t j = 0; j < m2_.size(); ++j) out.push_back(mean_[j] * mean_[j] + m2_[j] / n_);
  return out;
}

}  // namespace refract
