#pragma once
// What one optimisation step of one SAE works on: a batch, the buffers that stay from step to step,
// and what a variant asks of them. Everything is on one device; nothing of it is read by the host
// but the log, a step late.
//
// A rank works on a tile: rows of the global batch by features of the dictionary.
//
// Shapes: D_in, D_out; F features and n rows of the tile, N rows of the global batch.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "refract/ops/encode_select.hpp"
#include "refract/ops/entries.hpp"
#include "refract/ops/feature_gradients.hpp"
#include "refract/ops/step_sums.hpp"
#include "refract/sae/state.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// The tile's rows of one global batch, already normalised.
struct Batch {
  TensorView<const float> x;                // [n, D_in]
  TensorView<const float> target;           // [n, D_out]; for an SAE the same as x
  TensorView<const std::uint8_t> included;  // [n]; 0 = excluded row: takes part in nothing
  std::size_t first_row = 0;                // index of row 0 in the global batch
  std::size_t rows = 0;                     // N
  std::size_t slice_rows = 0;  // a slice never straddles tiles: n, first_row are multiples of it
  bool first_pass = true;      // ages grow in the first pass over a row only (SPEC 2)
};

// What the stage sums over ranks behind a round of measuring, before the next. With one rank, and
// one tile, each is nothing.
struct Round {
  bool histogram = false;   // StepBuffers::histogram, over all tiles
  bool candidates = false;  // entries that have k places a row: the best of a row, over the
                            // tiles that share it
  bool rates = false;       // StepBuffers::rates over the tiles of a feature
  std::optional<std::size_t> error{};  // this term's partial reconstruction, over the same tiles
  bool statistics = false;  // counts over the tiles of a feature, slice sums in slice order
};

// What a variant needs.
struct StepShape {
  std::size_t k = 0;          // entries of a row, at most, in any step; 0: any number
  bool by_magnitude = false;  // they are the largest by magnitude
  bool candidates = false;    // entries are chosen from a list that is longer
  std::size_t aux_k = 0;      // AuxK entries of a row; 0: no such term
  bool second = false;        // instead a second list of any number: a gate's, or near thresholds
  bool second_error = false;  // with an error of its own, as AuxK's has
  std::size_t prefixes = 0;   // of the dictionary, whose errors are explained too
  bool norms = false;         // of decoder rows
  bool rates = false;         // of features
  std::size_t histogram = 0;  // integers, at most, that a round counts
  std::vector<Round> rounds{};
  [[nodiscard]] std::size_t terms() const { return aux_k > 0 || second ? 2 : 1; }
  [[nodiscard]] bool has_error(std::size_t which) const;
  [[nodiscard]] std::size_t errors() const;  // how many
};

// The part of a step that one rank does.
struct StepPart {
  std::size_t rows = 0;        // n
  std::size_t batch_rows = 0;  // N
  std::size_t slice_rows = 0;
  std::size_t first_row = 0;     // of the tile, in the global batch
  std::size_t tiles_of_row = 1;  // the dictionary is dealt to so many
  std::size_t tile = 0;          // and this is the one
  std::size_t dictionary = 0;    // features of all of them
  bool gathers_rows = false;     // ordered: gradients are summed over all N rows by their owner
  std::size_t gradient_features = 0;  // rows of StepBuffers::gradients
  std::size_t first_gradient = 0;     // the tile's feature that is their first
  DType product = DType::f32;         // of the encoder
  friend bool operator==(const StepPart&, const StepPart&) = default;
};

inline constexpr std::size_t kMostTerms = 2;
// Errors: what all entries leave, the second list's, then those of prefixes.
inline constexpr std::size_t kMainError = 0, kSecondError = 1, kPrefixError = 2,
                             kMostErrors = kPrefixError + kMostPrefixes;

// Rows with their entries, sorted for the gradients: the tile's own, or those of all tiles.
struct GradientRows {
  TensorView<const float> input;  // [rows, D_in]
  std::array<RowEntries, kMostTerms> entries;
  std::array<TensorView<const float>, kMostErrors> error;
};

struct StepBuffers {
  StepBuffers(const StepShape& shape, const SaeShape& tile, const StepPart& part, bool centred,
              Stream& stream);

  StepPart part;
  std::vector<Round> rounds;
  std::size_t terms;
  bool by_magnitude;
  EncodeSelect encoder;
  // x - b_dec [n, D_in], which is also what is to be explained; of a transcoder, which reads x as
  // it is, target - b_dec [n, D_out].
  Tensor<float> centred, centred_target;
  std::array<Tensor<float>, kMostErrors> error;  // [n, D_out]
  RowEntriesBuffer candidates, entries, second;
  std::array<FeatureEntriesBuffer, kMostTerms> by_feature;
  Tensor<std::uint32_t> dead;        // [F]
  Tensor<std::uint64_t> dead_count;  // [1] of the tile
  Tensor<std::uint64_t> all_dead;    // [1] of the dictionary
  Tensor<std::uint64_t> histogram, bar;
  Tensor<std::uint64_t> counts;      // [F + 1]
  Tensor<std::uint64_t> rates;       // [F + 1] (ops/entry_penalty.hpp)
  Tensor<float> norms, rate_slopes;  // [F]
  Tensor<double> rate_penalty;       // [1] of the tile
  Tensor<double> slice_sums;         // [slices of the batch, width] (ops/step_sums.hpp)
  Tensor<double> sums;               // [width]
  Tensor<double> scalars;            // [kStepScalars]
  Tensor<float> gradients;           // [gradient_features, GradientRow]
  Tensor<double> panels;             // [panels of the dictionary, 1 + D_in, or 1]
  Tensor<double> db_dec;             // [D_out]

  // The host's side: two records of scalars, one being written while the other is read.
  struct Record {
    PinnedBuffer<double> scalars;
    Event written;
    bool pending = false;
    std::uint64_t step = 0;
    double lr = 0;
    bool first_pass = true;
  };
  std::array<Record, 2> records;

  [[nodiscard]] DeadFeatures dead_features() const { return {dead.view(), dead_count.view()}; }
  [[nodiscard]] std::size_t first_slice() const { return part.first_row / part.slice_rows; }
  [[nodiscard]] std::size_t d_out() const { return db_dec.size(); }
  // The sums of what b_dec is subtracted from: of e, and of prefixes' errors where there are.
  [[nodiscard]] TensorView<const double> bias_errors() const {
    return sums.cview().rows(sums.size() - d_out(), d_out());
  }
  [[nodiscard]] TensorView<double> own_slices() const {
    return slice_sums.view().rows(first_slice(), part.rows / part.slice_rows);
  }
  [[nodiscard]] TensorView<const double> scalar(StepScalar which) const {
    return scalars.cview().rows(which, 1);
  }
};

// What a variant's methods take.
struct Step {
  SaeState& state;
  const Batch& batch;
  StepBuffers& buffers;
  Stream& stream;
  std::size_t k;  // of this step (sae/optimizer.hpp), where the variant has one
  [[nodiscard]] bool whole_rows() const { return buffers.part.tiles_of_row == 1; }
  // The tile's rows, for the gradients of features that are sorted.
  [[nodiscard]] GradientRows own_rows() const;
  // What the encoder reads, and what gradients of W_enc are sums of.
  [[nodiscard]] TensorView<const float> input() const {
    return buffers.centred.size() != 0 ? buffers.centred.cview() : batch.x;
  }
};

// Bytes of the buffers above, for the plan.
[[nodiscard]] std::size_t step_bytes(const StepShape& shape, const SaeShape& tile,
                                     const StepPart& part, bool centred);

}  // namespace refract
