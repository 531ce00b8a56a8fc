#pragma once
// Row-major tensors: Tensor owns, TensorView borrows. Axis letters are in docs/glossary.md.
#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>

#include "refract/device/device.hpp"

namespace refract {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::size_t> axes);  // at most four
  [[nodiscard]] std::size_t rank() const { return rank_; }
  [[nodiscard]] std::size_t operator[](std::size_t axis) const { return axes_[axis]; }
  [[nodiscard]] std::size_t size() const;  // number of elements; 0 without axes
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::size_t, 4> axes_{};
  std::size_t rank_ = 0;
};

template <typename T>
class TensorView {
 public:
  TensorView() = default;
  TensorView(T* data, Shape shape, Device device = {})
      : data_(data), shape_(shape), device_(device) {}
  template <typename U>
  requires(std::is_same_v<const U, T>) TensorView(const TensorView<U>& other)
      : data_(other.data()), shape_(other.shape()), device_(other.device()) {}

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t axis(std::size_t i) const { return shape_[i]; }
  [[nodiscard]] std::size_t size() const { return shape_.size(); }
  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] std::span<T> span() const { return {data_, size()}; }
  // Row i of a [N, D] view.
  [[nodiscard]] std::span<T> row(std::size_t i) const { return {data_ + i * shape_[1], shape_[1]}; }
  // Rows [first, first + count) of a [N, D] view (or elements of a [N] view).
  [[nodiscard]] TensorView rows(std::size_t first, std::size_t count) const {
    return shape_.rank() == 1
               ? TensorView(data_ + first, Shape{count}, device_)
               : TensorView(data_ + first * shape_[1], Shape{count, shape_[1]}, device_);
  }

 private:
  T* data_ = nullptr;
  Shape shape_;
  Device device_;
};

template <typename T>
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Shape shape, Device device = {}) : buffer_(shape.size(), device), shape_(shape) {}
  [[nodiscard]] T* data() const { return buffer_.data(); }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t axis(std::size_t i) const { return shape_[i]; }
  [[nodiscard]] std::size_t size() const { return buffer_.size(); }
  [[nodiscard]] Device device() const { return buffer_.device(); }
  [[nodiscard]] std::span<T> span() const { return buffer_.span(); }
  [[nodiscard]] std::span<T> row(std::size_t i) const { return view().row(i); }
  [[nodiscard]] TensorView<T> view() const { return {buffer_.data(), shape_, buffer_.device()}; }
  [[nodiscard]] TensorView<const T> cview() const {
    return {buffer_.data(), shape_, buffer_.device()};
  }

 private:
  Buffer<T> buffer_;
  Shape shape_;
};

// to = from, of one shape, between any two devices in stream order (copy_bytes).
template <typename T>
void copy_tensor(TensorView<const std::type_identity_t<T>> from, TensorView<T> to, Stream& stream) {
  copy_bytes(reinterpret_cast<std::byte*>(to.data()), to.device(),
             reinterpret_cast<const std::byte*>(from.data()), from.device(), to.size() * sizeof(T),
             stream);
}

struct Axis {
  std::string_view name;
  std::size_t size;
};
// Throws SystemError: "x_hat axis D is 512, expected 768". The runtime twin of a shape comment.
void expect_shape(const Shape& shape, std::string_view what, std::initializer_list<Axis> axes);
template <typename T>
void expect_shape(const TensorView<T>& view, std::string_view what,
                  std::initializer_list<Axis> axes) {
  expect_shape(view.shape(), what, axes);
}

}  // namespace refract
