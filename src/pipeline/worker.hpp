#pragma once
// A rank at work: takes tickets from the coordinator until there are none, one at a time.
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "pipeline/messages.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/stages/extract.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

class Worker {
 public:
  // Collective over the world (the groups of ranks are split from it). desk: what this rank does
  // besides, often and quickly: on rank 0 it polls the coordinator.
  // device: what this rank trains on.
  Worker(Session& session, Communicator& world, const RolePlan& plan, Device device,
         std::function<void()> desk);

  // Until the coordinator says end. true when the job was stopped on request.
  bool collective_work();
  // What this rank trained, if it did.
  [[nodiscard]] std::vector<TrainedSae>& saes() { return saes_; }

 private:
  void breathe();
  void take_messages();
  void settle_checkpoint();
  void collective_save(Checkpoints::Reason reason, const std::vector<std::string>& metrics);
  void report(const char* kind, Json more);
  void report_progress(const Ticket& ticket, const Communicator& group, std::uint64_t done,
                       std::uint64_t total, std::uint64_t rows);
  void work(const Ticket& ticket);
  Json result_of(const Ticket& ticket);
  Json collective_prepare();
  std::string collective_find_whole(const ChunkSpec& spec);
  std::optional<ChunkReader> collective_open_whole(const ChunkVisit& visit);
  Json collective_extract(std::uint64_t chunk);
  Extraction collective_write_chunk(const ChunkSpec& spec, const ChunkShape& shape);
  Json collective_restore();
  Json collective_train(std::uint64_t visit);
  void log_timing(std::uint64_t visit, std::uint64_t steps, double seconds);

  Session& session_;
  Communicator& world_;
  bool draws_;  // fused: rank 0's own bars tell how far all are, besides
  Communicator extractors_, trainers_;
  Communicator group_;  // of the trainers: those that train the same SAEs
  std::function<void()> desk_;
  std::optional<Ticket> ticket_;
  std::string chunk_digest_;  // of the chunk that the ticket trains on
  bool ended_ = false, stopped_ = false, told_stop_ = false;
  double reported_s_ = 0, saving_since_s_ = 0;
  std::uint64_t rows_ = 0;  // worked through for the ticket, by all of its ranks
  std::vector<TrainedSae> saes_;
  Device device_;
  TrainConfig train_;  // with the exchange that was chosen
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Checkpoints> checkpoints_;
  TrainingPosition position_;
};

}  // namespace refract
