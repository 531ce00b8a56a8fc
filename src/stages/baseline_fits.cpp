#include "stages/baseline_fits.hpp"

#include <algorithm>
#include <cmath>

#include "refract/analysis/ica.hpp"
#include "refract/analysis/nmf.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/metrics/moments.hpp"
#include "refract/order/sample_order.hpp"
#include "stages/baseline_dictionary.hpp"

namespace refract {
namespace {

constexpr std::size_t kRowsAtATime = 4096;
// Components whose sums are made before the next look at a stop: enough for every core.
constexpr std::size_t kComponentsAtATime = 256;

constexpr std::size_t kTilesAtATime = 64;

std::string doing(const BaselineFitting& fitting, std::string_view method) {
  return fmt::format("evaluate {}: fit {}", fitting.calibration().hook, method);
}

// Codes of directions that are orthonormal.
std::shared_ptr<BaselineDictionary> along_directions(const BaselineFitting& fitting,
                                                     TensorView<const float> directions) {
  auto out = std::make_shared<BaselineDictionary>();
  out->mean = fitting.calibration().mean;
  out->directions = Tensor<float>(directions.shape());
  std::copy_n(directions.data(), directions.size(), out->directions.data());
  Stream stream;
  auto packed = std::make_shared<const PackedMatrix>(directions, TensorView<const float>{}, stream);
  out->encode = [packed](TensorView<const float> rows, TensorView<float> codes) {
    Stream encoding;
    gemm_nt(rows, *packed, codes, 0, encoding);
  };
  return out;
}

struct FittedParts {
  Tensor<float> W;  // [r, D of x]
  BaselineFacts facts;
};

// The iteration of analysis/nmf.hpp: each rank has a share of the rows of H, of the components'
// sums and of the columns of W.
FittedParts collective_fit_parts(BaselineFitting& fitting, const Tensor<float>& x, std::size_t r,
                                 Parts parts, std::string_view method) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  working(doing(fitting, method));
  Progress progress(doing(fitting, method), kNmfIterations, "iterations", fitting.quiet());
  const NmfRows rows(x.cview());
  FittedParts out{initial_parts(x.cview(), r),
                  {.components = r, .fitting_rows = n, .converged = false}};
  Tensor<float> h(Shape{fitting.share(n), r});
  double before = rows.squared_norm();
  while (out.facts.iterations < kNmfIterations && !out.facts.converged) {
    const CodingDirections coding(out.W.cview());
    std::size_t done = 0;
    fitting.collective_share(n, kRowsAtATime, [&](std::size_t first, std::size_t count) {
      coding.pass(x.cview().rows(first, count), Codes::non_negative, h.view().rows(done, count));
      done += count;
    });
    std::vector<float> H = fitting.all_gather<float>(h.span());
    NmfSums mine;
    fitting.collective_share(r, kComponentsAtATime, [&](std::size_t first, std::size_t count) {
      const NmfSums sums = rows.sums({H.data(), Shape{n, r}}, first, count);
      mine.hh.insert(mine.hh.end(), sums.hh.begin(), sums.hh.end());
      mine.hx.insert(mine.hx.end(), sums.hx.begin(), sums.hx.end());
    });
    const NmfSums all{fitting.all_gather<double>(mine.hh), fitting.all_gather<double>(mine.hx)};
    Tensor<float> columns(Shape{fitting.share(d), r});
    std::vector<double> errors;
    fitting.collective_share(d, kComponentsAtATime, [&](std::size_t first, std::size_t count) {
      const std::vector<double> of_columns =
          update_parts(all, out.W.cview(), parts, first, columns.view().rows(errors.size(), count));
      errors.insert(errors.end(), of_columns.begin(), of_columns.end());
    });
    const std::vector<float> turned = fitting.all_gather<float>(columns.span());
    for (std::size_t c = 0; c < d; ++c)
      for (std::size_t j = 0; j < r; ++j) out.W.row(j)[c] = turned[c * r + j];

    double error = rows.squared_norm();
    for (const double of_column : fitting.all_gather<double>(errors)) error += of_column;
    if (!std::isfinite(error))
      throw NumericalError(
          "baseline {} at {}: the error after {} iterations is not finite. Check the training rows "
          "(refract describe), or leave it out of evaluate.baselines.",
          method, fitting.calibration().hook, out.facts.iterations + 1);
    ++out.facts.iterations;
    out.facts.converged = before - error < kNmfTolerance * rows.squared_norm();
    before = error;
    progress.advance(1);
  }
  return out;
}

FittedBaseline coded_by(const BaselineFitting& fitting, const FittedParts& fitted,
                        Tensor<float> directions, bool split) {
  auto out = std::make_shared<BaselineDictionary>();
  out->mean = fitting.calibration().mean;
  out->directions = std::move(directions);
  out->orthonormal = false;
  out->sign = Codes::non_negative;
  auto coding = std::make_shared<const CodingDirections>(fitted.W.cview());
  out->encode = [coding, split](TensorView<const float> rows, TensorView<float> codes) {
    if (split)
      coding->solve(split_by_sign(rows).cview(), Codes::non_negative, codes);
    else
      coding->solve(rows, Codes::non_negative, codes);
  };
  return {std::move(out), fitted.facts};
}

// E[x x^T] [D, D], each rank making some of its tiles.
std::vector<double> collective_second_moments(BaselineFitting& fitting, const Tensor<float>& x) {
  const std::size_t n = x.axis(0), d = x.axis(1), tiles = ScatterTiles::tiles_of(d);
  const std::vector<float> zero(d, 0);
  std::vector<double> mine;
  fitting.collective_share(tiles, kTilesAtATime, [&](std::size_t first, std::size_t count) {
    ScatterTiles some(d, first, count);
    some.add(x.cview(), zero);
    mine.insert(mine.end(), some.values().begin(), some.values().end());
  });
  return covariance_of(fitting.all_gather<double>(mine), d, static_cast<double>(n));
}

Tensor<float> times(TensorView<const float> a, TensorView<const float> b_transposed) {
  Stream stream;
  Tensor<float> out(Shape{a.axis(0), b_transposed.axis(0)});
  gemm_nt(a, PackedMatrix(b_transposed, {}, stream), out.view(), 0, stream);
  return out;
}

Tensor<float> transposed(const Tensor<float>& a) {
  Tensor<float> out(Shape{a.axis(1), a.axis(0)});
  for (std::size_t i = 0; i < a.axis(0); ++i)
    for (std::size_t j = 0; j < a.axis(1); ++j) out.row(j)[i] = a.row(i)[j];
  return out;
}

}  // namespace

std::size_t BaselineFitting::share(std::size_t items) const {
  return share_of(items, ranks_.rank(), ranks_.size()).count;
}

template <typename Piece>
void BaselineFitting::collective_share(std::size_t items, std::size_t size, Piece&& piece) {
  const Share mine = share_of(items, ranks_.rank(), ranks_.size());
  stop_.collective([&] {
    for (std::size_t first = 0; first < mine.count; first += size) {
      stop_.poll();
      piece(mine.first + first, std::min<std::size_t>(size, mine.count - first));
    }
  });
}

PrincipalComponents BaselineFitting::collective_principal_of(std::span<const double> covariance) {
  const std::size_t d = calibration().d_in;
  PrincipalComponents found{std::vector<double>(d), Tensor<float>(Shape{d, d})};
  stop_.collective([&] {
    if (ranks_.rank() == 0) found = principal_components(covariance, d, d);
  });
  ranks_.broadcast(std::span<double>(found.variances), 0);
  ranks_.broadcast(found.directions.span(), 0);
  return found;
}

const PrincipalComponents& BaselineFitting::collective_principal() {
  working(doing(*this, "pca"));
  if (!principal_) principal_ = collective_principal_of(calibration().covariance);
  return *principal_;
}

// Each rank reads a share of the file, so that it is read once.
const Tensor<float>& BaselineFitting::collective_rows() {
  if (rows_) return *rows_;
  const ChunkReader& training = *sources_.training;
  const std::string& hook = calibration().hook;
  const std::size_t d = calibration().d_in, column = training.hook_index(hook);
  working(doing(*this, "rows"));

  std::vector<std::uint8_t> flags;
  collective_share(training.rows(), kRowsAtATime, [&](std::size_t first, std::size_t count) {
    const std::vector<std::uint8_t> excluded = training.read_excluded(column, first, count);
    flags.insert(flags.end(), excluded.begin(), excluded.end());
  });
  flags = all_gather<std::uint8_t>(flags);
  std::vector<std::size_t> included;
  for (std::size_t row = 0; row < flags.size(); ++row)
    if (flags[row] == 0) included.push_back(row);
  const std::size_t n = std::min<std::size_t>(included.size(), sources_.max_rows);
  if (n < d)
    throw ConfigError(
        "evaluate.baselines that are fitted on rows need as many as {} has dimensions, {}: there "
        "are {} ({} of {} training rows kept for probing take part, evaluate.baseline_rows is {}). "
        "Raise probe.tokens and evaluate.baseline_rows, or leave ica, semi_nmf and split_nmf out.",
        hook, d, n, included.size(), training.rows(), sources_.max_rows);
  std::vector<std::uint8_t> used(training.rows(), 0);
  for (std::size_t i = 0; i < n; ++i) used[included[i * included.size() / n]] = 1;

  std::vector<float> mine;
  collective_share(training.rows(), kRowsAtATime, [&](std::size_t first, std::size_t count) {
    std::vector<float> values(count * d);
    training.read_rows(column, first, count, values);
    for (std::size_t i = 0; i < count; ++i)
      if (used[first + i] != 0)
        for (std::size_t j = 0; j < d; ++j)
          mine.push_back(values[i * d + j] - calibration().mean[j]);
  });
  const std::vector<float> all = all_gather<float>(mine);
  Tensor<float> rows(Shape{n, d});
  std::ranges::copy(all, rows.data());
  return rows_.emplace(std::move(rows));
}

FittedBaseline collective_fit_pca(BaselineFitting& fitting) {
  auto out = along_directions(fitting, fitting.collective_principal().directions.cview());
  out->leading = true;
  return {std::move(out), {}};
}

FittedBaseline collective_fit_pca_topk(BaselineFitting& fitting) {
  return {along_directions(fitting, fitting.collective_principal().directions.cview()), {}};
}

FittedBaseline collective_fit_neurons(BaselineFitting& fitting) {
  const std::size_t d = fitting.calibration().d_in;
  Tensor<float> axes(Shape{d, d});
  std::ranges::fill(axes.span(), 0.0F);
  for (std::size_t j = 0; j < d; ++j) axes.row(j)[j] = 1;
  auto out = std::make_shared<BaselineDictionary>();
  out->mean = fitting.calibration().mean;
  out->directions = std::move(axes);
  out->encode = [](TensorView<const float> rows, TensorView<float> codes) {
    std::copy_n(rows.data(), rows.size(), codes.data());
  };
  return {std::move(out), {}};
}

FittedBaseline collective_fit_ica(BaselineFitting& fitting) {
  const Tensor<float>& x = fitting.collective_rows();
  working(doing(fitting, "ica"));
  const IcaWhitening white =
      whitening_of(fitting.collective_principal_of(collective_second_moments(fitting, x)));
  const std::size_t r = white.to_white.axis(0);
  Progress progress(doing(fitting, "ica"), kIcaIterations, "iterations", fitting.quiet());
  const IcaRows rows(times(x.cview(), white.to_white.cview()).cview());
  Tensor<float> W = initial_unmixing(r, fitting.seed());
  BaselineFacts facts{.components = r, .fitting_rows = x.axis(0), .converged = false};
  Tensor<float> mine(Shape{fitting.share(r), r});
  while (facts.iterations < kIcaIterations && !facts.converged) {
    std::size_t done = 0;
    fitting.collective_share(r, kComponentsAtATime, [&](std::size_t first, std::size_t count) {
      rows.update(W.cview(), first, mine.view().rows(done, count));
      done += count;
    });
    std::vector<float> all = fitting.all_gather<float>(mine.span());
    Tensor<float> next = decorrelated({all.data(), Shape{r, r}});
    facts.converged = turned(next.cview(), W.cview()) < kIcaTolerance;
    W = std::move(next);
    ++facts.iterations;
    progress.advance(1);
  }
  // Sources of x are x (W K)^T, and x is the sum of theirs times the rows of W K^-1.
  auto out =
      along_directions(fitting, times(W.cview(), transposed(white.to_white).cview()).cview());
  out->directions = times(W.cview(), transposed(white.from_white).cview());
  out->orthonormal = false;
  return {std::move(out), facts};
}

FittedBaseline collective_fit_semi_nmf(BaselineFitting& fitting) {
  const Tensor<float>& x = fitting.collective_rows();
  FittedParts fitted = collective_fit_parts(fitting, x, x.axis(1), Parts::of_any_sign, "semi_nmf");
  Tensor<float> directions(fitted.W.shape());
  std::copy_n(fitted.W.data(), fitted.W.size(), directions.data());
  return coded_by(fitting, fitted, std::move(directions), false);
}

FittedBaseline collective_fit_split_nmf(BaselineFitting& fitting) {
  const Tensor<float>& x = fitting.collective_rows();
  const FittedParts fitted = collective_fit_parts(fitting, split_by_sign(x.cview()), x.axis(1),
                                                  Parts::non_negative, "split_nmf");
  return coded_by(fitting, fitted, joined_by_sign(fitted.W.cview()), true);
}

}  // namespace refract
