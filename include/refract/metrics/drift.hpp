#pragma once
// How far the directions of an SAE have turned since an earlier checkpoint of the same training:
// feature f is compared with feature f, so nothing need be matched.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// A cosine below it is a direction that moved (reference/analysis.md A9).
inline constexpr double kDrifted = 0.9;

// The cosine of a and b [D] in fp64, whatever their lengths; 0 where one of them is zero.
// NumericalError naming `of` when one is not finite.
[[nodiscard]] double cosine(std::string_view of, std::span<const float> a,
                            std::span<const float> b);

// Plain numbers, so that it may be sent as it is.
struct RowDrift {
  std::uint64_t rows = 0;       // compared: zero neither now nor earlier
  std::uint64_t zero_rows = 0;  // the others
  double mean = 0, p05 = 0;     // of the cosine of a row with its earlier self; 0 without rows
  double share_drifted = 0;     // rows with a cosine below kDrifted
  friend bool operator==(const RowDrift&, const RowDrift&) = default;
};
// now, earlier [F, D]. NumericalError naming `of` and the row when one is not finite.
[[nodiscard]] RowDrift row_drift(std::string_view of, TensorView<const float> now,
                                 TensorView<const float> earlier);

}  // namespace refract
