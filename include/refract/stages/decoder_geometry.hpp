#pragma once
#include <string_view>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/metrics/decoder_geometry.hpp"
#include "refract/sae/config.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// Collective. The geometry of W_dec [F, D], the same on every rank and for any number of them: each
// takes a contiguous share of the pairs of tiles. of: "SAE 'small'", for messages and progress.
// M^2 D / 2 multiply-adds in all, M of F rows being live. StopRequested on every rank once a stop
// was asked for on any; NumericalError as UnitRows.
[[nodiscard]] DecoderGeometry collective_decoder_geometry(std::string_view of,
                                                          TensorView<const float> W_dec,
                                                          SharedStop& stop, Communicator& ranks);

// W_dec [d_sae, d_out] of the SAE's frozen-random control (Purpose::random_control, its seed): its
// geometry is what chance gives at this shape, where W_dec >= 0 too.
[[nodiscard]] Tensor<float> random_decoder(const SaeConfig& sae, std::size_t d_out);

}  // namespace refract
