// Values are small integers, whose fp32 sums are exact in any order, so every body must give the
// same bytes.
#include "support/exchange_suite.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "refract/comm/exchange.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

std::size_t ranks() { return static_cast<std::size_t>(world().size()); }
std::size_t me() { return static_cast<std::size_t>(world().rank()); }

float value(std::size_t rank, std::size_t i) {
  return static_cast<float>((rank + 1) * (i % 1000 + 1));
}
float sum_over_ranks(std::size_t i) {
  return static_cast<float>(ranks() * (ranks() + 1) / 2 * (i % 1000 + 1));
}

std::vector<float> values_of(std::size_t rank, std::size_t size) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = value(rank, i);
  return values;
}

std::size_t sum(const std::vector<std::size_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}
std::size_t start_of(std::size_t rank, const std::vector<std::size_t>& counts) {
  return std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(rank),
                         std::size_t{0});
}

// Equal shares; none equal; rank 0 and the last without any.
std::vector<std::vector<std::size_t>> shares() {
  std::vector<std::vector<std::size_t>> out(3);
  for (std::size_t r = 0; r < ranks(); ++r) {
    out[0].push_back(257);
    out[1].push_back(31 * r + 1);
    out[2].push_back(r == 0 || r + 1 == ranks() ? 0 : 1000 + r);
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
    exchange_ = make_exchange(world(), device_);
  }

  Buffer<float> upload(const std::vector<float>& values) {
    Buffer<float> buffer(values.size(), device_);
    copy_bytes(reinterpret_cast<std::byte*>(buffer.data()), device_,
               reinterpret_cast<const std::byte*>(values.data()), {}, values.size() * sizeof(float),
               stream_);
    return buffer;
  }
  std::vector<float> download(const Buffer<float>& buffer) {
    std::vector<float> values(buffer.size());
    exchange_->synchronize(stream_);
    copy_bytes(reinterpret_cast<std::byte*>(values.data()), {},
               reinterpret_cast<const std::byte*>(buffer.data()), device_,
               values.size() * sizeof(float), stream_);
    stream_.synchronize();
    return values;
  }

  Device device_;
  Stream stream_;
  std::unique_ptr<Exchange> exchange_;
};

TEST_F(Exchanges, sum_every_element_to_all_ranks) {
  std::size_t compared = 0;
  for (const std::size_t size : {1U, 3U, 1024U, 100'003U}) {
    const Buffer<float> buffer = upload(values_of(me(), size));

    exchange_->all_reduce_sum(buffer.span(), stream_);

    const std::vector<float> found = download(buffer);
    for (std::size_t i = 0; i < size; ++i, ++compared)
      ASSERT_EQ(found[i], sum_over_ranks(i)) << i << " of " << size;
  }
  EXPECT_EQ(compared, 101'031U);
}

TEST_F(Exchanges, give_each_rank_the_sums_of_its_share_however_unequal) {
  std::size_t compared = 0;
  for (const std::vector<std::size_t>& counts : shares()) {
    const Buffer<float> buffer = upload(values_of(me(), sum(counts)));
    const Buffer<float> mine(counts[me()], device_);

    exchange_->reduce_scatter_sum(buffer.span(), counts, mine.span(), stream_);

    const std::vector<float> found = download(mine);
    const std::size_t start = start_of(me(), counts);
    for (std::size_t i = 0; i < found.size(); ++i, ++compared)
      ASSERT_EQ(found[i], sum_over_ranks(start + i)) << i;
  }
  EXPECT_GE(compared, 258U);
}

TEST_F(Exchanges, leave_the_input_of_a_reduce_scatter_as_it_was) {
  const std::vector<std::size_t> counts = shares()[1];
  const Buffer<float> buffer = upload(values_of(me(), sum(counts)));
  const Buffer<float> mine(counts[me()], device_);

  exchange_->reduce_scatter_sum(buffer.span(), counts, mine.span(), stream_);

  EXPECT_EQ(download(buffer), values_of(me(), sum(counts)));
}

TEST_F(Exchanges, gather_the_parts_in_rank_order_however_unequal) {
  std::size_t compared = 0;
  for (const std::vector<std::size_t>& counts : shares()) {
    std::vector<float> mine_in_place(sum(counts), -1.0F);
    const std::size_t start = start_of(me(), counts);
    for (std::size_t i = 0; i < counts[me()]; ++i) mine_in_place[start + i] = value(me(), i);
    const Buffer<float> buffer = upload(mine_in_place);

    exchange_->all_gather(buffer.span(), counts, stream_);

    const std::vector<float> found = download(buffer);
    for (std::size_t r = 0, at = 0; r < ranks(); ++r)
      for (std::size_t i = 0; i < counts[r]; ++i, ++at, ++compared)
        ASSERT_EQ(found[at], value(r, i)) << r << " " << i;
  }
  EXPECT_GE(compared, 257U * ranks());
}

TEST_F(Exchanges, do_what_is_queued_on_one_stream_in_order) {
  const std::vector<std::size_t> counts = shares()[1];
  const Buffer<float> whole = upload(values_of(me(), sum(counts)));
  const Buffer<float> halves = upload(values_of(me(), sum(counts)));
  const std::span<float> mine = halves.span().subspan(start_of(me(), counts), counts[me()]);
  const Buffer<float> sums(counts[me()], device_);

  exchange_->all_reduce_sum(whole.span(), stream_);
  exchange_->reduce_scatter_sum(halves.span(), counts, sums.span(), stream_);
  copy_bytes(reinterpret_cast<std::byte*>(mine.data()), device_,
             reinterpret_cast<const std::byte*>(sums.data()), device_, mine.size_bytes(), stream_);
  exchange_->all_gather(halves.span(), counts, stream_);

  EXPECT_EQ(download(halves), download(whole));
}

TEST_F(Exchanges, take_empty_buffers) {
  const std::vector<std::size_t> counts(ranks(), 0);

  exchange_->all_reduce_sum({}, stream_);
  exchange_->reduce_scatter_sum({}, counts, {}, stream_);
  exchange_->all_gather({}, counts, stream_);
  exchange_->synchronize(stream_);

  EXPECT_EQ(world().all_reduce_max(me()),
            ranks() - 1);  // every rank came this far, and they still hear each other
}

}  // namespace
}  // namespace refract
