#pragma once
// Which GPU each rank holds. NCCL wants one GPU for each rank, and says so in words of its own;
// this says which ranks collide and what to do.
#include <array>
#include <span>
#include <string>

namespace refract {

// Plain bytes, so that it can be gathered. Texts end with a zero.
struct GpuOfRank {
  std::array<char, 64> host{};
  std::array<char, 32> bus_id{};    // "0000:65:00.0"; empty when the device cannot be used
  std::array<char, 128> failure{};  // why not
};

// Copies what fits.
template <std::size_t Size>
void set_text(std::array<char, Size>& to, const std::string& text) {
  to[text.copy(to.data(), Size - 1)] = '\0';
}

// What is wrong with this assignment, and what to do: one line; empty when every rank has a GPU to
// itself.
[[nodiscard]] std::string gpu_conflict(std::span<const GpuOfRank> ranks);

}  // namespace refract
