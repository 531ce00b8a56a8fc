#include "lm/arch_table.hpp"

#include <array>

namespace refract {
namespace {

constexpr std::array<Architecture, 1> kArchitectures{{
    {"gpt2", gpt2::read_info, gpt2::require, gpt2::check_weights, gpt2::load,
     gpt2::hugging_face_module},
}};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

}  // namespace refract
