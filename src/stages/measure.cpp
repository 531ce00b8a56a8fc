#include "refract/stages/measure.hpp"

#include <algorithm>
#include <optional>

#include "refract/base/activity.hpp"
#include "refract/order/sample_order.hpp"

namespace refract {

std::vector<Measurement> collective_measure(const HeldoutRows& rows,
                                            std::span<const Measured> measured,
                                            const MeasureRule& rule, SharedStop* stop,
                                            Communicator& ranks) {
  const auto together = [&](const std::function<void()>& work) {
    if (stop)
      stop->collective(work);
    else
      work();
  };
  std::vector<DocumentTable> own;
  for (const Measured& one : measured)
    own.emplace_back(rule.reference, one.reconstructor->components());
  const bool same_cuts = std::ranges::any_of(
      measured, [](const Measured& one) { return one.reconstructor->looks_at_whole_calls(); });
  std::uint64_t documents = 0;  // that have a row which counts; each is one rank's
  together([&] {
    SparseActs acts;
    Tensor<float> x_hat;
    std::optional<std::uint64_t> last;
    const std::string doing = ranks.rank() == 0 ? rule.doing : std::string();
    rows.for_each_piece(rows.of_rank(ranks.rank(), ranks.size()), same_cuts, doing, stop,
                        [&](const RowPiece& piece) {
                          for (std::size_t i = 0; i < piece.counted.size(); ++i) {
                            if (piece.counted[i] == 0 || piece.identity.document[i] == last)
                              continue;
                            last = piece.identity.document[i];
                            ++documents;
                          }
                          if (x_hat.shape() != piece.x.shape())
                            x_hat = Tensor<float>(piece.x.shape());
                          for (std::size_t i = 0; i < measured.size(); ++i) {
                            if (stop) stop->poll();
                            measured[i].reconstructor->reconstruct(piece.read(), piece.included,
                                                                   acts, x_hat.view());
                            own[i].add({piece.x.cview(), x_hat.cview(), acts.row_starts,
                                        acts.features, acts.values, piece.unit, piece.counted});
                          }
                        });
  });
  ranks.all_reduce_sum(std::span(&documents, 1));

  std::vector<Measurement> out;
  const Share share = share_of(rule.replicates, ranks.rank(), ranks.size());
  for (std::size_t i = 0; i < measured.size(); ++i) {
    DocumentTable all(rule.reference, measured[i].reconstructor->components());
    {
      const std::vector<std::uint64_t> words = own[i].packed();
      all.add_packed(ranks.all_gather(std::span<const std::uint64_t>(words)));
    }
    own[i] = DocumentTable(rule.reference, 0);
    std::vector<double> replicates;
    together([&] {
      if (!rule.doing.empty()) working(rule.doing + ", intervals");
      replicates = replicate_metrics(all, rule.seed, {share.first, share.count});
    });
    replicates = ranks.all_gather(std::span<const double>(replicates));
    out.push_back({metric_report(all, measured[i].of, replicates), density_histogram(all)});
    out.back().report.documents = documents;
  }
  return out;
}

}  // namespace refract
