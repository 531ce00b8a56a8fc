#pragma once
#include "refract/comm/communicator.hpp"
#include "refract/device/device.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

// Collective over the ranks that train. Where training computes: device: cpu; cuda: a GPU of its
// own for every rank, else SystemError or NotBuilt on all of them; auto: cuda where every rank can
// have one and the reduction is fast, else the CPU. Rank i of a host gets its GPU i.
[[nodiscard]] Device collective_training_device(const RunConfig& config, Communicator& trainers);

}  // namespace refract
