// Transfers beyond what an MPI count can say go in pieces. Here a piece is 16 bytes, so that
// transfers of a few hundred take the path of those of gigabytes.
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "comm/mpi_communicator.hpp"
#include "comm/mpi_exchange.hpp"
#include "refract/base/error.hpp"
#include "refract/comm/exchange.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr std::size_t kPiece_bytes = 16;
constexpr std::size_t kBucket = 160;  // of an exchange: one with a share for each of several ranks

Communicator in_pieces() {
  return world().native_mpi() ? Communicator(duplicate_world(kPiece_bytes))
                              : Communicator::loopback();
}
std::unique_ptr<Exchange> exchange_in_pieces() {
  return world().native_mpi() ? std::make_unique<Exchange>(
                                    make_mpi_exchange(world().native_mpi(), Wire::fp32, kBucket))
                              : make_exchange(world());
}
TensorView<float> view(std::vector<float>& values) { return {values.data(), Shape{values.size()}}; }
std::size_t ranks() { return static_cast<std::size_t>(world().size()); }
std::size_t me() { return static_cast<std::size_t>(world().rank()); }

TEST(Pieces, of_a_broadcast_arrive_whole) {
  Communicator comm = in_pieces();
  std::size_t compared = 0;
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 333u})
    for (int root = 0; root < comm.size(); ++root, ++compared) {
      std::string sent;
      for (std::size_t i = 0; i < size; ++i) sent += static_cast<char>('a' + (i + 7) % 26);
      std::string text = comm.rank() == root ? sent : "other";

      comm.broadcast_string(text, root);

      EXPECT_EQ(text, sent);
    }
  EXPECT_EQ(compared, 6 * ranks());
}

TEST(Pieces, of_what_is_gathered_keep_the_order_of_the_ranks) {
  Communicator comm = in_pieces();
  for (const std::size_t each : {0u, 1u, 5u, 40u}) {
    const std::vector<std::uint32_t> mine(each + me(), static_cast<std::uint32_t>(me()));

    const std::vector<std::uint32_t> all = comm.all_gather(std::span<const std::uint32_t>(mine));

    std::vector<std::uint32_t> expected;
    for (std::size_t r = 0; r < ranks(); ++r)
      expected.insert(expected.end(), each + r, static_cast<std::uint32_t>(r));
    EXPECT_EQ(all, expected);
    for (int root = 0; root < comm.size(); ++root)
      EXPECT_EQ(comm.gather(std::span<const std::uint32_t>(mine), root),
                comm.rank() == root ? expected : std::vector<std::uint32_t>())
          << "on rank " << root;
  }
}

TEST(Pieces, of_sums_are_each_summed) {
  Communicator part = in_pieces().split(0, world().rank());  // a split goes in pieces too
  for (const std::size_t size : {1u, 2u, 3u, 50u}) {
    std::vector<std::uint64_t> counts(size);
    std::iota(counts.begin(), counts.end(), me());

    part.all_reduce_sum(std::span<std::uint64_t>(counts));

    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t sum = ranks() * i + ranks() * (ranks() - 1) / 2;
      EXPECT_EQ(counts[i], sum) << i << " of " << size;
    }
  }
}

TEST(Pieces, a_ticket_that_would_need_them_is_refused) {
  if (!world().native_mpi()) {  // no message is sent to oneself: any length will do
    Communicator comm = in_pieces();
    comm.send(0, 1, std::string(17, 'x'));
    EXPECT_EQ(comm.try_receive(1)->text.size(), 17u);
    return;
  }
  Communicator comm = in_pieces();
  comm.send(comm.rank(), 1, std::string(16, 'x'));
  EXPECT_THROW(comm.send(comm.rank(), 1, std::string(17, 'x')), SystemError);

  std::optional<Message> message;
  while (!message) message = comm.try_receive(1);
  EXPECT_EQ(message->text, std::string(16, 'x'));
}

// Small integers: their fp32 sums are exact in any order.
TEST(Pieces, of_an_exchange_give_what_one_call_gives) {
  const std::unique_ptr<Exchange> cut = exchange_in_pieces(), whole = make_exchange(world());
  Stream stream;
  std::size_t compared = 0;
  for (const std::size_t each : {0u, 1u, 3u, 250u}) {
    std::vector<std::size_t> counts;
    for (std::size_t r = 0; r < ranks(); ++r) counts.push_back(r % 2 == 0 ? each : each + r);
    std::vector<float> values(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((me() + 1) * (i + 1));
    std::vector<float> sums = values, sums_cut = values, parts = values, parts_cut = values;
    std::vector<float> mine(counts[me()]), mine_cut(counts[me()]);

    whole->all_reduce_sum(view(sums), stream);
    cut->all_reduce_sum(view(sums_cut), stream);
    whole->reduce_scatter_sum(view(values), counts, view(mine), stream);
    cut->reduce_scatter_sum(view(values), counts, view(mine_cut), stream);
    whole->all_gather(view(parts), counts, stream);
    cut->all_gather(view(parts_cut), counts, stream);

    EXPECT_EQ(sums_cut, sums);
    EXPECT_EQ(mine_cut, mine);
    EXPECT_EQ(parts_cut, parts);
    compared += sums.size() + mine.size() + parts.size();
  }
  EXPECT_GE(compared, 508u);
}

}  // namespace
}  // namespace refract
