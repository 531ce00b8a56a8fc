#include "comm/mpi_tickets.hpp"

#include "comm/mpi_check.hpp"

namespace refract {

MpiTickets::~MpiTickets() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized)
    for (auto ticket = sent_.begin(); ticket != sent_.end();) {
      int done = 0;
      const bool asked = MPI_Test(&ticket->request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS;
      ticket = asked && done ? sent_.erase(ticket) : std::next(ticket);
    }
  // A ticket that nobody received yet: waiting for it might be for ever, and MPI may still read its
  // text.
  static std::list<Sent> unreceived;
  unreceived.splice(unreceived.end(), sent_);
}

void MpiTickets::send(int to, int tag, std::string text) {
  if (text.size() > largest_bytes_)
    throw SystemError(
        "a ticket with tag {} has {} bytes, more than the {} that go in one message: broadcast or "
        "write what is so large",
        tag, text.size(), largest_bytes_);
  REFRACT_ASSERT(tag >= 0 && tag < kExchangeTag, "tag {}", tag);
  forget_delivered();
  Sent& ticket = sent_.emplace_back();
  ticket.text = std::move(text);
  check(MPI_Isend(ticket.text.data(), static_cast<int>(ticket.text.size()), MPI_BYTE, to, tag,
                  comm_, &ticket.request),
        "MPI_Isend");
}

std::optional<Message> MpiTickets::try_receive(int tag) {
  forget_delivered();
  int arrived = 0, size = 0;
  MPI_Message handle = MPI_MESSAGE_NULL;
  MPI_Status status;
  check(MPI_Improbe(MPI_ANY_SOURCE, tag, comm_, &arrived, &handle, &status), "MPI_Improbe");
  if (!arrived) return std::nullopt;
  check(MPI_Get_count(&status, MPI_BYTE, &size), "MPI_Get_count");
  Message message{.from = status.MPI_SOURCE,
                  .text = std::string(static_cast<std::size_t>(size), '\0')};
  check(MPI_Mrecv(message.text.data(), size, MPI_BYTE, &handle, MPI_STATUS_IGNORE), "MPI_Mrecv");
  return message;
}

void MpiTickets::forget_delivered() {
  for (auto ticket = sent_.begin(); ticket != sent_.end();) {
    int done = 0;
    check(MPI_Test(&ticket->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    ticket = done ? sent_.erase(ticket) : std::next(ticket);
  }
}

}  // namespace refract
