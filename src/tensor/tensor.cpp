#include "refract/tensor/tensor.hpp"

#include "refract/base/error.hpp"

namespace refract {

Shape::Shape(std::initializer_list<std::size_t> axes) : rank_(axes.size()) {
  REFRACT_ASSERT(axes.size() <= axes_.size(), "a shape has at most {} axes", axes_.size());
  std::size_t i = 0;
  for (const std::size_t axis : axes) axes_[i++] = axis;
}

std::size_t Shape::size() const {
  std::size_t size = rank_ == 0 ? 0 : 1;
  for (std::size_t i = 0; i < rank_; ++i) size *= axes_[i];
  return size;
}

void expect_shape(const Shape& shape, std::string_view what, std::initializer_list<Axis> axes) {
  if (shape.rank() != axes.size())
    throw SystemError("{} has {} axes, expected {}", what, shape.rank(), axes.size());
  std::size_t i = 0;
  for (const Axis& axis : axes) {
    if (shape[i] != axis.size)
      throw SystemError("{} axis {} is {}, expected {}", what, axis.name, shape[i], axis.size);
    ++i;
  }
}

}  // namespace refract
