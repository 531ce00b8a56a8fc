#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

Message receive(Communicator& comm, int tag) {
  while (true)
    if (std::optional<Message> message = comm.try_receive(tag)) return std::move(*message);
}

TEST(Tickets, every_rank_hears_every_rank_in_the_order_of_sending) {
  constexpr int kTag = 1, kEach = 20;
  for (int i = 0; i < kEach; ++i)
    for (int to = 0; to < world().size(); ++to)
      world().send(to, kTag, "ticket " + std::to_string(i) + " for " + std::to_string(to));

  std::vector<int> heard(static_cast<std::size_t>(world().size()), 0);
  for (int i = 0; i < kEach * world().size(); ++i) {
    const Message message = receive(world(), kTag);
    int& next = heard.at(static_cast<std::size_t>(message.from));
    EXPECT_EQ(message.text,
              "ticket " + std::to_string(next++) + " for " + std::to_string(world().rank()));
  }

  EXPECT_EQ(heard, std::vector<int>(heard.size(), kEach));
  EXPECT_FALSE(world().try_receive(kTag).has_value());
}

TEST(Tickets, a_tag_hears_only_its_own) {
  const int next = (world().rank() + 1) % world().size();
  world().send(next, 2, "two");
  world().send(next, 3, "three");

  EXPECT_EQ(receive(world(), 3).text, "three");
  EXPECT_EQ(receive(world(), 2).text, "two");
}

TEST(Tickets, an_empty_and_a_large_text_arrive_whole) {
  const std::string large(300'000, 'x');  // past the eager limit of every transport
  const int next = (world().rank() + 1) % world().size();
  world().send(next, 4, "");
  world().send(next, 4, large);

  EXPECT_EQ(receive(world(), 4).text, "");
  EXPECT_TRUE(receive(world(), 4).text == large);
  world().barrier();  // the sender's part of a large text is done by a call of the sender
}

TEST(Tickets, send_returns_although_nobody_receives) {
  const int next = (world().rank() + 1) % world().size();
  for (int i = 0; i < 200; ++i) world().send(next, 5, std::string(1000, 'y'));
  world().barrier();  // collectives pass tickets by
  for (int i = 0; i < 200; ++i) EXPECT_EQ(receive(world(), 5).text.size(), 1000u);
  EXPECT_FALSE(world().try_receive(5).has_value());
}

TEST(Tickets, a_split_group_does_not_hear_its_parent) {
  Communicator group = world().split(0, world().rank());
  world().send(world().rank(), 6, "parent");
  group.send(group.rank(), 6, "group");

  EXPECT_EQ(receive(group, 6).text, "group");
  EXPECT_FALSE(group.try_receive(6).has_value());
  EXPECT_EQ(receive(world(), 6).text, "parent");
}

}  // namespace
}  // namespace refract
