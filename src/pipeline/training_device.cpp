#include "refract/pipeline/training_device.hpp"

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"

namespace refract {

Device collective_training_device(const RunConfig& config, Communicator& trainers) {
  if (config.device == "cpu") return {};
  const bool asked = config.device == "cuda";
  if (asked && !has_cuda)
    throw NotBuilt(
        "device is cuda, but this build has no CUDA: configure where nvcc is found, or set device: "
        "cpu.");
  if (!asked && config.train.reduction != "fast") return {};
  Communicator host = trainers.node_local();
  const int devices = cuda_device_count();
  const bool fits = devices >= host.size() && (has_nccl || trainers.size() == 1);
  const bool all_fit = trainers.all_reduce_max(fits ? 0 : 1) == 0;
  if (all_fit) return {DeviceKind::cuda, host.rank()};
  if (asked)
    throw SystemError(
        "device is cuda, but not every rank that trains can have a GPU of its own: here {} rank(s) "
        "train and {} GPU(s) are visible{}. Start one rank per GPU, or set device: cpu.",
        host.size(), devices, has_nccl ? "" : ", and this build has no NCCL to sum over them");
  return {};
}

}  // namespace refract
