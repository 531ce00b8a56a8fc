// Where not said otherwise values are small integers, whose sums are exact in any order, so every
// body must give the same bytes.
#include "support/exchange_suite.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "refract/base/error.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

std::size_t ranks() { return static_cast<std::size_t>(world().size()); }
std::size_t me() { return static_cast<std::size_t>(world().rank()); }

// At most 100: within a byte, whose sums nobody asks for.
template <typename T>
T value(std::size_t rank, std::size_t i) {
  return static_cast<T>((rank + 1) * (i % 25 + 1));
}
template <typename T>
T sum_over_ranks(std::size_t i) {
  return static_cast<T>(ranks() * (ranks() + 1) / 2 * (i % 25 + 1));
}
// More than an fp64 holds.
template <>
std::uint64_t value(std::size_t rank, std::size_t i) {
  return (std::uint64_t{1} << 60) + (rank + 1) * (i % 25 + 1);
}
template <>
std::uint64_t sum_over_ranks(std::size_t i) {
  return ranks() * (std::uint64_t{1} << 60) + ranks() * (ranks() + 1) / 2 * (i % 25 + 1);
}

template <typename T>
std::vector<T> values_of(std::size_t rank, std::size_t size) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = value<T>(rank, i);
  return values;
}

// Of both signs, 2^-4 to 2^4, with all 24 bits in use.
float real(std::size_t rank, std::size_t i) {
  const std::uint32_t mixed =
      static_cast<std::uint32_t>((rank * 1'000'003 + i + 1) * 2'654'435'761U) ^ 0x5bd1e995U;
  const float size =
      std::ldexp(1.0F + static_cast<float>(mixed >> 9) * 0x1p-23F, static_cast<int>(i % 9) - 4);
  return (mixed & 1) != 0 ? -size : size;
}

std::size_t sum(const std::vector<std::size_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}
std::size_t start_of(std::size_t rank, const std::vector<std::size_t>& counts) {
  return std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(rank),
                         std::size_t{0});
}

// Equal shares; none equal; rank 0 and the last without any, unless there is but one.
std::vector<std::vector<std::size_t>> shares() {
  std::vector<std::vector<std::size_t>> out(3);
  for (std::size_t r = 0; r < ranks(); ++r) {
    out[0].push_back(257);
    out[1].push_back(31 * r + 1);
    out[2].push_back(ranks() > 1 && (r == 0 || r + 1 == ranks()) ? 0 : 1000 + r);
  }
  return out;
}

class Exchanges : public testing::Test {
 protected:
  void SetUp() override {
    const test::ExchangeSite site = test::exchange_site();
    if (!site.skip.empty()) GTEST_SKIP() << site.skip;
    device_ = site.device;
    stream_ = Stream(device_);
    exchange_ = test::collective_site_exchange(Wire::fp32);
  }

  template <typename T>
  Tensor<T> upload(const std::vector<T>& values) {
    Tensor<T> tensor(Shape{values.size()}, device_);
    copy_bytes(reinterpret_cast<std::byte*>(tensor.data()), device_,
               reinterpret_cast<const std::byte*>(values.data()), {}, values.size() * sizeof(T),
               stream_);
    stream_.synchronize();
    return tensor;
  }
  template <typename T>
  std::vector<T> download(const Tensor<T>& tensor) {
    std::vector<T> values(tensor.size());
    exchange_->synchronize(stream_);
    copy_bytes(reinterpret_cast<std::byte*>(values.data()), {},
               reinterpret_cast<const std::byte*>(tensor.data()), device_,
               values.size() * sizeof(T), stream_);
    stream_.synchronize();
    return values;
  }

  template <typename T>
  void expect_sums() {
    std::size_t compared = 0;
    for (const std::size_t size : {1U, 3U, 1024U, 100'003U}) {
      const Tensor<T> tensor = upload(values_of<T>(me(), size));

      exchange_->all_reduce_sum(tensor.view(), stream_);

      const std::vector<T> found = download(tensor);
      for (std::size_t i = 0; i < size; ++i, ++compared)
        ASSERT_EQ(found[i], sum_over_ranks<T>(i)) << i << " of " << size;
    }
    EXPECT_EQ(compared, 101'031U);
  }

  template <typename T>
  void expect_gathered() {
    std::size_t compared = 0;
    for (const std::vector<std::size_t>& counts : shares()) {
      std::vector<T> mine_in_place(sum(counts), T{0});
      const std::size_t start = start_of(me(), counts);
      for (std::size_t i = 0; i < counts[me()]; ++i) mine_in_place[start + i] = value<T>(me(), i);
      const Tensor<T> tensor = upload(mine_in_place);

      exchange_->all_gather(tensor.view(), counts, stream_);

      const std::vector<T> found = download(tensor);
      for (std::size_t r = 0, at = 0; r < ranks(); ++r)
        for (std::size_t i = 0; i < counts[r]; ++i, ++at, ++compared)
          ASSERT_EQ(found[at], value<T>(r, i)) << r << " " << i;
    }
    EXPECT_GE(compared, 257U * ranks());
  }

  // What a sum of f32 that travels as bf16 may be off by: each addend and the result are rounded to
  // 8 bits; NCCL rounds partial sums at each of the ranks but the last.
  [[nodiscard]] double rounding(double sum_of_magnitudes) const {
    const std::size_t roundings = device_.kind == DeviceKind::cpu ? 2 : ranks() + 1;
    return sum_of_magnitudes * (static_cast<double>(roundings) * 0x1p-9 * (1 + 0x1p-6));
  }
  void expect_rounded_sum(float found, std::size_t i) {
    double exact = 0, magnitudes = 0;
    for (std::size_t r = 0; r < ranks(); ++r) {
      exact += static_cast<double>(real(r, i));
      magnitudes += std::abs(static_cast<double>(real(r, i)));
    }
    ASSERT_LE(std::abs(static_cast<double>(found) - exact), rounding(magnitudes)) << i;
    changed_ += static_cast<double>(found) != static_cast<double>(static_cast<float>(exact));
    ++compared_;
  }

  Device device_;
  Stream stream_;
  std::unique_ptr<Exchange> exchange_;
  std::size_t compared_ = 0, changed_ = 0;
};

TEST_F(Exchanges, say_between_whom_and_where) {
  EXPECT_EQ(exchange_->rank(), world().rank());
  EXPECT_EQ(exchange_->size(), world().size());
  EXPECT_EQ(exchange_->device(), device_);
}

TEST_F(Exchanges, sum_every_float_to_all_ranks) { expect_sums<float>(); }
TEST_F(Exchanges, sum_every_double_to_all_ranks) { expect_sums<double>(); }
TEST_F(Exchanges, sum_whole_numbers_of_64_bits_exactly) { expect_sums<std::uint64_t>(); }

TEST_F(Exchanges, give_each_rank_the_sums_of_its_share_however_unequal) {
  std::size_t compared = 0;
  for (const std::vector<std::size_t>& counts : shares()) {
    const Tensor<float> tensor = upload(values_of<float>(me(), sum(counts)));
    const Tensor<float> mine(Shape{counts[me()]}, device_);

    exchange_->reduce_scatter_sum(tensor.cview(), counts, mine.view(), stream_);

    const std::vector<float> found = download(mine);
    const std::size_t start = start_of(me(), counts);
    for (std::size_t i = 0; i < found.size(); ++i, ++compared)
      ASSERT_EQ(found[i], sum_over_ranks<float>(start + i)) << i;
  }
  EXPECT_GE(compared, 258U);
}

TEST_F(Exchanges, leave_the_input_of_a_reduce_scatter_as_it_was) {
  for (const Wire wire : {Wire::fp32, Wire::bf16}) {
    exchange_ = test::collective_site_exchange(wire);
    const std::vector<std::size_t> counts = shares()[1];
    std::vector<float> values(sum(counts));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = real(me(), i);
    const Tensor<float> tensor = upload(values);
    const Tensor<float> mine(Shape{counts[me()]}, device_);

    exchange_->reduce_scatter_sum(tensor.cview(), counts, mine.view(), stream_);

    EXPECT_EQ(download(tensor), values);
  }
}

TEST_F(Exchanges, gather_floats_in_rank_order_however_unequal_the_parts) {
  expect_gathered<float>();
}
TEST_F(Exchanges, gather_doubles) { expect_gathered<double>(); }
TEST_F(Exchanges, gather_whole_numbers_of_64_bits) { expect_gathered<std::uint64_t>(); }
TEST_F(Exchanges, gather_whole_numbers_of_32_bits) { expect_gathered<std::uint32_t>(); }
TEST_F(Exchanges, gather_bytes) { expect_gathered<std::uint8_t>(); }

TEST_F(Exchanges, take_the_elements_of_any_shape) {
  const Tensor<float> tensor(Shape{2, 3, 5}, device_);
  const std::vector<float> values = values_of<float>(me(), 30);
  copy_bytes(reinterpret_cast<std::byte*>(tensor.data()), device_,
             reinterpret_cast<const std::byte*>(values.data()), {}, 30 * sizeof(float), stream_);

  exchange_->all_reduce_sum(tensor.view(), stream_);

  const std::vector<float> found = download(tensor);
  ASSERT_EQ(found.size(), 30U);
  for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(found[i], sum_over_ranks<float>(i));
}

TEST_F(Exchanges, do_what_is_queued_on_one_stream_in_order) {
  const std::vector<std::size_t> counts = shares()[1];
  const Tensor<float> whole = upload(values_of<float>(me(), sum(counts)));
  const Tensor<float> halves = upload(values_of<float>(me(), sum(counts)));
  const std::span<float> mine = halves.span().subspan(start_of(me(), counts), counts[me()]);
  const Tensor<float> sums(Shape{counts[me()]}, device_);

  exchange_->all_reduce_sum(whole.view(), stream_);
  exchange_->reduce_scatter_sum(halves.cview(), counts, sums.view(), stream_);
  copy_bytes(reinterpret_cast<std::byte*>(mine.data()), device_,
             reinterpret_cast<const std::byte*>(sums.data()), device_, mine.size_bytes(), stream_);
  exchange_->all_gather(halves.view(), counts, stream_);

  EXPECT_EQ(download(halves), download(whole));
}

TEST_F(Exchanges, take_empty_tensors) {
  const std::vector<std::size_t> counts(ranks(), 0);

  exchange_->all_reduce_sum(TensorView<float>(), stream_);
  exchange_->reduce_scatter_sum({}, counts, {}, stream_);
  exchange_->all_gather(TensorView<std::uint8_t>(), counts, stream_);
  exchange_->synchronize(stream_);

  EXPECT_EQ(world().all_reduce_max(me()),
            ranks() - 1);  // every rank came this far, and they still hear each other
}

TEST_F(Exchanges, in_bf16_sum_to_what_rounding_each_addend_explains_and_equal_on_all_ranks) {
  exchange_ = test::collective_site_exchange(Wire::bf16);
  for (const std::size_t size : {1U, 5U, 2048U, 100'003U}) {
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = real(me(), i);
    const Tensor<float> tensor = upload(values);

    exchange_->all_reduce_sum(tensor.view(), stream_);

    const std::vector<float> found = download(tensor);
    for (std::size_t i = 0; i < size; ++i) expect_rounded_sum(found[i], i);
    const std::vector<float> all = world().all_gather(std::span<const float>(found));
    ASSERT_EQ(all.size(), size * ranks());
    for (std::size_t i = 0; i < all.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(all[i]), std::bit_cast<std::uint32_t>(found[i % size]))
          << "rank " << i / size << " element " << i % size;
  }
  EXPECT_EQ(compared_, 102'057U);
  EXPECT_GE(changed_, ranks() > 1 ? compared_ / 2 : 0) << "they did not travel as bf16";
}

TEST_F(Exchanges, in_bf16_give_each_rank_sums_that_rounding_each_addend_explains) {
  exchange_ = test::collective_site_exchange(Wire::bf16);
  for (const std::vector<std::size_t>& counts : shares()) {
    std::vector<float> values(sum(counts));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = real(me(), i);
    const Tensor<float> tensor = upload(values);
    const Tensor<float> mine(Shape{counts[me()]}, device_);

    exchange_->reduce_scatter_sum(tensor.cview(), counts, mine.view(), stream_);

    const std::vector<float> found = download(mine);
    const std::size_t start = start_of(me(), counts);
    for (std::size_t i = 0; i < found.size(); ++i) expect_rounded_sum(found[i], start + i);
  }
  EXPECT_GE(compared_, 258U);
  EXPECT_GE(changed_, ranks() > 1 ? compared_ / 2 : 0) << "they did not travel as bf16";
}

TEST_F(Exchanges, in_bf16_leave_other_types_and_gathers_exact) {
  exchange_ = test::collective_site_exchange(Wire::bf16);
  expect_sums<std::uint64_t>();
  expect_sums<double>();
  const std::vector<std::size_t> counts(ranks(), 7);
  std::vector<float> values(sum(counts));
  for (std::size_t i = 0; i < 7; ++i) values[7 * me() + i] = real(me(), i);
  const Tensor<float> tensor = upload(values);

  exchange_->all_gather(tensor.view(), counts, stream_);

  const std::vector<float> found = download(tensor);
  ASSERT_EQ(found.size(), 7 * ranks());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], real(i / 7, i % 7));
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const SystemError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST_F(Exchanges, refuse_a_tensor_or_a_stream_of_another_device) {
  const Device other{device_.kind, device_.index + 1};
  const Tensor<float> here(Shape{ranks()}, device_), one(Shape{1}, device_);
  const TensorView<float> there(here.data(), here.shape(), other),
      one_there(one.data(), {1}, other);
  const std::vector<std::size_t> counts(ranks(), 1);
  Stream host_stream(device_.kind == DeviceKind::cpu ? other : Device{});

  const std::vector<std::string> found{
      refusal([&] { exchange_->all_reduce_sum(there, stream_); }),
      refusal([&] { exchange_->reduce_scatter_sum(there, counts, one.view(), stream_); }),
      refusal([&] { exchange_->reduce_scatter_sum(here.cview(), counts, one_there, stream_); }),
      refusal([&] { exchange_->all_gather(there, counts, stream_); }),
      refusal([&] { exchange_->all_reduce_sum(here.view(), host_stream); }),
      refusal(
          [&] { exchange_->reduce_scatter_sum(here.cview(), counts, one.view(), host_stream); }),
      refusal([&] { exchange_->all_gather(here.view(), counts, host_stream); }),
      refusal([&] { exchange_->synchronize(host_stream); })};

  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NE(found[i].find(i < 4 ? "make the tensor there" : "make both for one device"),
              std::string::npos)
        << i << ": " << found[i];
  EXPECT_NE(found[2].find("reduce_scatter_sum: mine is on " + text(other)), std::string::npos)
      << found[2];
}

TEST_F(Exchanges, refuse_counts_that_are_not_those_of_the_ranks_and_the_tensor) {
  const Tensor<float> all(Shape{2 * ranks()}, device_), mine(Shape{2}, device_);
  const std::vector<std::size_t> counts(ranks(), 2), too_few(ranks(), 1), too_many(ranks() + 1, 2);
  const std::string elements = fmt::format("has {} elements, expected {}", 2 * ranks(), ranks()),
                    number = fmt::format("{} counts, expected one for each of {} ranks",
                                         ranks() + 1, ranks());
  const auto expect = [](const std::string& found, const std::string& text) {
    EXPECT_NE(found.find(text), std::string::npos) << found << "\nexpected: " << text;
  };

  expect(refusal([&] { exchange_->all_gather(all.view(), too_few, stream_); }), "all " + elements);
  expect(refusal([&] { exchange_->all_gather(all.view(), too_many, stream_); }), number);
  expect(
      refusal([&] { exchange_->reduce_scatter_sum(all.cview(), too_few, mine.view(), stream_); }),
      "values " + elements);
  expect(
      refusal([&] { exchange_->reduce_scatter_sum(all.cview(), too_many, mine.view(), stream_); }),
      number);
  expect(refusal([&] {
           exchange_->reduce_scatter_sum(all.cview(), counts, mine.view().rows(0, 1), stream_);
         }),
         fmt::format("mine has 1 elements, expected 2, the count of rank {}", me()));
}

}  // namespace
}  // namespace refract
