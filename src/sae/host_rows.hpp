#pragma once
// Rows of a tensor where the host can read them.
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

inline constexpr std::size_t kHostPieceBytes = std::size_t{32} << 20;

template <typename T>
std::size_t row_elements(TensorView<T> view) {
  return view.shape().rank() == 1 ? 1 : view.axis(1);
}

// take(first row, rows): all at once where they are on the host, else copied there, a few times
// `unit` rows at a time.
template <typename T, typename Take>
void for_host_rows(TensorView<const T> view, std::size_t unit, Stream& stream, Take&& take) {
  if (view.size() == 0) return;
  const std::size_t rows = view.axis(0), width = row_elements(view);
  if (view.device().kind == DeviceKind::cpu) return take(std::size_t{0}, view);
  const std::size_t fit =
      std::max<std::size_t>(1, kHostPieceBytes / sizeof(T) / width / unit) * unit;
  Tensor<T> piece(view.rows(0, std::min(fit, rows)).shape());
  for (std::size_t first = 0; first < rows; first += fit) {
    const std::size_t count = std::min(fit, rows - first);
    copy_tensor(view.rows(first, count), piece.view().rows(0, count), stream);
    stream.synchronize();
    take(first, TensorView<const T>(piece.view().rows(0, count)));
  }
}

}  // namespace refract
