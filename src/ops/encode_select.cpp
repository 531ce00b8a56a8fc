#include "refract/ops/encode_select.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "ops/backend.hpp"
#include "ops/bf16_gemm.hpp"
#include "ops/encode_select_body.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/ops/gemm_cuda.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/ops/select_top.hpp"

namespace refract {
namespace {

// Rows multiplied at a time: their pre-activations are still in cache when the selection reads
// them. Fewer where the threads would not all have some.
constexpr std::size_t kMostPanelRows = 64, kLeastPanelRows = 4;

std::size_t panel_rows(std::size_t n) {
  const auto threads = static_cast<std::size_t>(std::max(1, thread_count()));
  const std::size_t share = (n + threads - 1) / threads;
  return std::clamp(share, kLeastPanelRows, kMostPanelRows);
}

struct PanelMemory {
  Tensor<float> pre;                   // [kMostPanelRows, F]
  std::vector<std::uint32_t> rounded;  // the panel's rows as bf16, where products are
  SelectScratch select;
  std::vector<std::uint32_t> features;  // of one row, while their number is not known
  std::vector<float> dead_pre;          // one row's pre-activations of dead features
  std::vector<float> magnitudes;        // of one row
  float lowest = 0;                     // of all features' bounds, in this run
  bool one_floor = true;                // they are all the same
};

class CpuEncodeSelect final : public EncodeSelectBody {
 public:
  CpuEncodeSelect(std::size_t d_sae, std::size_t d_in, DType product) : product_(product) {
    memory_.resize(static_cast<std::size_t>(std::max(1, thread_count())));
    for (PanelMemory& memory : memory_) {
      memory.pre = Tensor<float>(Shape{kMostPanelRows, d_sae});
      memory.select.ranked.reserve(d_sae);
      memory.select.candidates.resize(d_sae + 1);
      memory.features.resize(d_sae + 1);
      memory.dead_pre.reserve(d_sae);
      memory.magnitudes.resize(d_sae);
      if (product == DType::bf16) memory.rounded.resize(Bf16Matrix::words(kMostPanelRows, d_in));
    }
  }

  void pack(TensorView<const float> W_enc, TensorView<const float> b_enc, Stream& stream) override {
    if (product_ == DType::bf16)
      rounded_weights_.pack(W_enc, b_enc);
    else
      weights_.pack(W_enc, b_enc, stream);
  }

  void run(const EncodeRequest& r, Stream&) override {
    if (r.unless.size() != 0 && r.unless.data()[0] != 0) return;
    const std::size_t n = r.x.axis(0), height = panel_rows(n);
    if (r.choice.k == 0) {
      r.out.used.data()[0] = 0;
      const auto [lowest, one] = lowest_bound(r.choice);
      for (PanelMemory& memory : memory_) memory.lowest = lowest, memory.one_floor = one;
    }
    for_each_item((n + height - 1) / height, memory_, [&](std::size_t panel, PanelMemory& memory) {
      const std::size_t first = panel * height, rows = std::min(height, n - first);
      Stream stream;
      const TensorView<float> pre = memory.pre.view().rows(0, rows);
      if (product_ == DType::bf16)
        rounded_weights_.multiply(r.x.rows(first, rows), memory.rounded.data(), pre);
      else
        gemm_nt(r.x.rows(first, rows), weights_, pre, first, stream);
      for (std::size_t i = 0; i < rows; ++i) select(r, first + i, pre.row(i), memory);
    });
  }

 private:
  static float bound_of(const Choice& choice, float floor) {
    return std::max(choice.least, choice.share * floor + choice.offset);
  }
  // Of all features, and whether it is the same for all.
  static std::pair<float, bool> lowest_bound(const Choice& choice) {
    if (choice.floor.size() == 0) return {bound_of(choice, 0), true};
    const auto [low, high] = std::ranges::minmax(choice.floor.span());
    return {bound_of(choice, choice.share < 0 ? high : low), low == high};
  }

  void select(const EncodeRequest& r, std::size_t row, std::span<const float> pre,
              PanelMemory& memory) const {
    r.out.counts.data()[row] = 0;
    const bool aux = r.aux != nullptr && r.aux->k > 0;
    if (aux) r.aux->out.counts.data()[row] = 0;
    if (r.included.size() != 0 && r.included.data()[row] == 0) return;
    if (r.choice.k > 0)
      keep_largest(pre, r.choice, row, r.out, memory);
    else
      keep_above(pre, r.choice, row, r.out, memory);
    if (aux) keep_dead(pre, *r.aux, row, memory);
  }

  // The floor is the ReLU: what is not positive never counts as active.
  static void keep_largest(std::span<const float> pre, const Choice& choice, std::size_t row,
                           const RowEntries& out, PanelMemory& memory) {
    std::span<const float> ranked = pre;
    if (choice.by_magnitude) {
      for (std::size_t f = 0; f < pre.size(); ++f) memory.magnitudes[f] = std::abs(pre[f]);
      ranked = memory.magnitudes;
    }
    std::uint32_t* features = out.features.data() + row * out.per_row;
    const std::size_t count = select_top(ranked, choice.k, 0.0F, memory.select, features);
    out.counts.data()[row] = static_cast<std::uint32_t>(count);
    for (std::size_t j = 0; j < count; ++j)
      out.values.data()[row * out.per_row + j] = pre[features[j]];
  }

  static void keep_above(std::span<const float> pre, const Choice& choice, std::size_t row,
                         const RowEntries& out, PanelMemory& memory) {
    std::uint32_t* features = memory.features.data();
    std::size_t count = 0;
    const float* floors = choice.floor.data();
    // One floor for all, as of BatchTopK, is one vector pass.
    const std::size_t all = indices_above(pre.data(), pre.size(), memory.lowest, features);
    if (memory.one_floor)
      count = all;
    else
      for (const std::uint32_t f : std::span(features, all))
        if (pre[f] > bound_of(choice, floors[f])) features[count++] = f;
    const std::uint64_t start =
        std::atomic_ref(out.used.data()[0]).fetch_add(count, std::memory_order_relaxed);
    REFRACT_ASSERT(start + count <= out.values.size(), "{} entries, room for {}", start + count,
                   out.values.size());
    out.starts.data()[row] = start;
    out.counts.data()[row] = static_cast<std::uint32_t>(count);
    std::copy_n(features, count, out.features.data() + start);
    for (std::size_t j = 0; j < count; ++j) out.values.data()[start + j] = pre[features[j]];
  }

  static void keep_dead(std::span<const float> pre, const AuxSelection& aux, std::size_t row,
                        PanelMemory& memory) {
    const std::size_t dead = aux.dead.count.data()[0];
    if (dead == 0) return;
    const std::uint32_t* numbers = aux.dead.features.data();
    memory.dead_pre.resize(dead);
    for (std::size_t i = 0; i < dead; ++i) memory.dead_pre[i] = pre[numbers[i]];
    std::uint32_t* features = aux.out.features.data() + row * aux.k;
    const std::size_t count =
        select_top(memory.dead_pre, std::min(aux.k, dead), -std::numeric_limits<float>::infinity(),
                   memory.select, features);
    aux.out.counts.data()[row] = static_cast<std::uint32_t>(count);
    for (std::size_t j = 0; j < count; ++j) {
      aux.out.values.data()[row * aux.k + j] = memory.dead_pre[features[j]];
      features[j] = numbers[features[j]];
    }
  }

  DType product_;
  PackedMatrix weights_;
  Bf16Matrix rounded_weights_;
  std::vector<PanelMemory> memory_;
};

std::unique_ptr<EncodeSelectBody> make_body(std::size_t d_sae, std::size_t d_in, Device device,
                                            DType product) {
  if (product != DType::f32 && product != DType::bf16)
    throw SystemError("encode_select: products in {}; expected fp32 or bf16", name(product));
  REFRACT_ASSERT(product == DType::f32 || encodes_in_bf16(device), "products in {} on device {}",
                 name(product), device.kind == DeviceKind::cpu ? "cpu" : "cuda");
  if (device.kind == DeviceKind::cpu)
    return std::make_unique<CpuEncodeSelect>(d_sae, d_in, product);
  if constexpr (has_cuda) return make_cuda_encode_select(d_sae, d_in, device);
  throw NotBuilt("encode_select has no CUDA body in this build: set device to cpu.");
}

void expect_device(Device found, Device expected, const char* what) {
  if (found != expected) throw SystemError("encode_select: {} is not on the op's device", what);
}

}  // namespace

bool encodes_in_bf16(Device device) { return device.kind == DeviceKind::cpu && runs_bf16_gemm(); }

EncodeSelect::EncodeSelect(std::size_t d_sae, std::size_t d_in, Device device, DType product)
    : d_sae_(d_sae), d_in_(d_in), device_(device), body_(make_body(d_sae, d_in, device, product)) {}
EncodeSelect::~EncodeSelect() = default;
EncodeSelect::EncodeSelect(EncodeSelect&&) noexcept = default;
EncodeSelect& EncodeSelect::operator=(EncodeSelect&&) noexcept = default;

std::size_t EncodeSelect::work_bytes(std::size_t d_sae, std::size_t d_in, Device device) {
  if (device.kind == DeviceKind::cuda)
    return cuda::kCublasWorkspaceBytes + 4 * cuda_panel_rows(d_sae) * (d_sae + d_in);
  const auto threads = static_cast<std::size_t>(std::max(1, thread_count()));
  return 4 * d_sae * (d_in + 1) + threads * d_sae * 4 * (kMostPanelRows + 4);
}

void EncodeSelect::pack(TensorView<const float> W_enc, TensorView<const float> b_enc,
                        Stream& stream) {
  expect_shape(W_enc, "W_enc", {{"F", d_sae_}, {"D", d_in_}});
  expect_shape(b_enc, "b_enc", {{"F", d_sae_}});
  expect_device(W_enc.device(), device_, "W_enc");
  expect_device(stream.device(), device_, "the stream");
  body_->pack(W_enc, b_enc, stream);
}

void EncodeSelect::run(const EncodeRequest& r, Stream& stream) {
  const std::size_t n = r.x.axis(0);
  expect_shape(r.x, "x", {{"n", n}, {"D", d_in_}});
  expect_shape(r.out.counts, "counts", {{"n", n}});
  if (r.included.size() != 0) expect_shape(r.included, "included", {{"n", n}});
  REFRACT_ASSERT(r.choice.k == 0 ? r.out.per_row == 0 : r.out.per_row >= r.choice.k,
                 "per_row {} k {}", r.out.per_row, r.choice.k);
  REFRACT_ASSERT(r.choice.floor.size() == 0 || r.choice.floor.size() == d_sae_, "floor of {}",
                 r.choice.floor.size());
  REFRACT_ASSERT(!r.aux || r.aux->out.per_row == r.aux->k, "per_row {} k {}", r.aux->out.per_row,
                 r.aux->k);
  expect_device(r.x.device(), device_, "x");
  expect_device(r.out.values.device(), device_, "out");
  expect_device(stream.device(), device_, "the stream");
  if (n != 0) body_->run(r, stream);
}

}  // namespace refract
