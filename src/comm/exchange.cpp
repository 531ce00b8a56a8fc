#include "refract/comm/exchange.hpp"

#include <numeric>
#include <string_view>

#include "comm/exchange_body.hpp"
#include "comm/mpi_exchange.hpp"
#include "comm/nccl_exchange.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/comm/environment.hpp"

namespace refract {
namespace {

template <Summable T>
constexpr DType dtype_of() {
  if constexpr (std::same_as<T, float>) return DType::f32;
  if constexpr (std::same_as<T, double>) return DType::f64;
  return DType::u64;
}

void expect_stream(const char* call, const ExchangeBody& body, const Stream& stream) {
  if (stream.device() != body.device())
    throw SystemError("{}: the stream is of {}, the exchange of {}: make both for one device", call,
                      text(stream.device()), text(body.device()));
}

template <typename T>
void expect_view(const char* call, std::string_view what, const ExchangeBody& body,
                 const TensorView<T>& view) {
  if (view.size() != 0 && view.device() != body.device())
    throw SystemError("{}: {} is on {}, the exchange on {}: make the tensor there", call, what,
                      text(view.device()), text(body.device()));
}

void expect_counts(const char* call, std::string_view what, const ExchangeBody& body,
                   std::span<const std::size_t> counts, std::size_t elements) {
  if (counts.size() != static_cast<std::size_t>(body.size()))
    throw SystemError("{}: {} counts, expected one for each of {} ranks", call, counts.size(),
                      body.size());
  const std::size_t sum = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  if (elements != sum)
    throw SystemError("{}: {} has {} elements, expected {}, the sum of the ranks' counts", call,
                      what, elements, sum);
}

}  // namespace

Exchange::Exchange(std::unique_ptr<ExchangeBody> body) : body_(std::move(body)) {}
Exchange::~Exchange() = default;
int Exchange::rank() const { return body_->rank(); }
int Exchange::size() const { return body_->size(); }
Device Exchange::device() const { return body_->device(); }

template <Summable T>
void Exchange::all_reduce_sum(TensorView<T> values, Stream& stream) {
  constexpr const char* kCall = "all_reduce_sum";
  expect_stream(kCall, *body_, stream);
  expect_view(kCall, "values", *body_, values);
  if (values.size() != 0)
    body_->all_reduce_sum(reinterpret_cast<std::byte*>(values.data()), dtype_of<T>(), values.size(),
                          stream);
}
template void Exchange::all_reduce_sum(TensorView<float>, Stream&);
template void Exchange::all_reduce_sum(TensorView<double>, Stream&);
template void Exchange::all_reduce_sum(TensorView<std::uint64_t>, Stream&);

void Exchange::reduce_scatter_sum(TensorView<const float> values,
                                  std::span<const std::size_t> counts, TensorView<float> mine,
                                  Stream& stream) {
  constexpr const char* kCall = "reduce_scatter_sum";
  expect_stream(kCall, *body_, stream);
  expect_view(kCall, "values", *body_, values);
  expect_view(kCall, "mine", *body_, mine);
  expect_counts(kCall, "values", *body_, counts, values.size());
  const std::size_t own = counts[static_cast<std::size_t>(rank())];
  if (mine.size() != own)
    throw SystemError("{}: mine has {} elements, expected {}, the count of rank {}", kCall,
                      mine.size(), own, rank());
  if (values.size() != 0) body_->reduce_scatter_sum(values.data(), counts, mine.data(), stream);
}

template <Gatherable T>
void Exchange::all_gather(TensorView<T> all, std::span<const std::size_t> counts, Stream& stream) {
  constexpr const char* kCall = "all_gather";
  expect_stream(kCall, *body_, stream);
  expect_view(kCall, "all", *body_, all);
  expect_counts(kCall, "all", *body_, counts, all.size());
  if (all.size() != 0)
    body_->all_gather(reinterpret_cast<std::byte*>(all.data()), sizeof(T), counts, stream);
}
template void Exchange::all_gather(TensorView<float>, std::span<const std::size_t>, Stream&);
template void Exchange::all_gather(TensorView<double>, std::span<const std::size_t>, Stream&);
template void Exchange::all_gather(TensorView<std::uint64_t>, std::span<const std::size_t>,
                                   Stream&);
template void Exchange::all_gather(TensorView<std::uint32_t>, std::span<const std::size_t>,
                                   Stream&);
template void Exchange::all_gather(TensorView<std::uint8_t>, std::span<const std::size_t>, Stream&);

void Exchange::synchronize(Stream& stream) {
  expect_stream("synchronize", *body_, stream);
  body_->synchronize(stream);
}

std::unique_ptr<Exchange> make_exchange(Communicator& communicator, Device device, Wire wire) {
  if (device.kind == DeviceKind::cuda && !has_cuda)
    throw NotBuilt("this build has no CUDA: configure where nvcc is found, or train on the CPU");
  if (communicator.size() == 1) {
    if (device.kind == DeviceKind::cuda && device.index >= cuda_device_count())
      throw SystemError(
          "rank 0 on host {} cannot use its GPU: there is no {}, {} device(s) are visible. Set "
          "device: cpu, or ask for a GPU.",
          host_name(), text(device), cuda_device_count());
    return std::make_unique<Exchange>(make_loopback_exchange(device));
  }
  if (device.kind == DeviceKind::cpu)
    return std::make_unique<Exchange>(make_mpi_exchange(communicator.native_mpi(), wire));
  if constexpr (has_nccl)
    return std::make_unique<Exchange>(
        collective_make_nccl_exchange(communicator, device.index, wire));
  throw NotBuilt(
      "this build has no NCCL to sum over GPUs: configure where nvcc, nccl.h and libnccl are "
      "found, or train on the CPU");
}

}  // namespace refract
