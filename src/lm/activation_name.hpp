#pragma once
// Activations as config.json names them (transformers' ACT2FN): some names mean the same function.
#include <algorithm>
#include <array>
#include <string_view>

namespace refract {

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
constexpr std::string_view kGeluTanhNames =
    "gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate or gelu_python_tanh";
[[nodiscard]] constexpr bool is_gelu_tanh(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames{"gelu_new", "gelu_pytorch_tanh", "gelu_fast",
                                                   "gelu_accurate", "gelu_python_tanh"};
  return std::ranges::find(kNames, name) != kNames.end();
}

// x Phi(x).
[[nodiscard]] constexpr bool is_gelu(std::string_view name) {
  return name == "gelu" || name == "gelu_python";
}

}  // namespace refract
