#pragma once
// World rank 0's desk: knows what has happened, writes the ledger, hands out tickets. It does no
// long work, so it is polled between the blocks and steps of the rank's own tickets.
#include <map>
#include <memory>
#include <vector>

#include "pipeline/board.hpp"
#include "pipeline/messages.hpp"
#include "pipeline/progress_keeper.hpp"
#include "refract/pipeline/deadline.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/evidence.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/session.hpp"

namespace refract {

class Coordinator {
 public:
  // The corpus of `session` is open. only_corpus: the command ends with tokens.
  Coordinator(Session& session, Communicator& world, RolePlan plan, Ledger& ledger,
              Deadline& deadline, ProgressKeeper& progress, bool only_corpus);
  // Takes messages, writes what they say, hands out what can start. Sends `end` to every rank when
  // nothing is left.
  void poll();
  [[nodiscard]] bool stopped() const { return stopping_; }
  [[nodiscard]] bool progressed() const { return progressed_; }  // anything was made
  [[nodiscard]] const Board& board() const { return board_; }

 private:
  struct Running {
    Assignment assignment;
    std::size_t reports = 0;
    Json result;
    std::uint64_t rows = 0;
  };
  // SAEs of a checkpoint that the ledger names, and who announced them.
  struct Announced {
    std::size_t saes = 0;
    std::vector<int> ranks;
  };
  void take(const Message& message);
  void name_checkpoint(int from, const Json& record);
  void done(int from, const Json& message);
  void apply(const Ticket& ticket, const Json& result);
  void hand_out();
  [[nodiscard]] bool fits(Ticket::Work work) const;
  void send(int rank, const Json& message);
  void send_with_corpus(int rank, Json message);
  void stop();
  void admit();
  void open_store(const std::string& calibration, const std::string& heldout);
  void expect_enough_rows();
  void drop_missing_chunks();
  void settle_sealed_chunks(std::uint64_t from);
  [[nodiscard]] EvidenceKeeper& evidence();
  void keep_evidence(std::uint64_t chunk);
  void lose(std::uint64_t chunk);
  void remove_chunk(std::uint64_t chunk, void (Ledger::*record)(std::uint64_t));
  void refresh();
  void tell(double now_s);
  void seal(std::uint64_t chunk, const Json& result);
  void evict(std::uint64_t chunk);
  void list_chunk(std::uint64_t chunk, const ChunkRecord& record, bool gone);
  void list_chunks();
  void write_store_manifest();

  Session& session_;
  Communicator& world_;
  RolePlan plan_;
  Ledger& ledger_;
  Deadline& deadline_;
  PipelineState state_;
  std::vector<Running> running_;
  Board board_;
  BoardDisplay display_;
  std::unique_ptr<Progress> corpus_bar_;  // fused
  std::vector<std::string> saes_;
  std::map<std::string, Announced> announced_;  // by folder, until all its SAEs are named
  std::vector<std::uint64_t> windows_told_;     // [ranks]
  std::unique_ptr<EvidenceKeeper> evidence_;    // while chunks are sealed
  ProgressKeeper& progress_;
  double told_s_ = 0;
  bool shapes_checked_ = false;
  bool news_ = true;  // something may be handed out that could not be before
  bool only_corpus_, disk_planned_ = false, stopping_ = false, ended_ = false, progressed_ = false;
};

}  // namespace refract
