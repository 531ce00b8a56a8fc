#include "pipeline/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/results.hpp"
#include "refract/pipeline/training_layout.hpp"
#include "refract/store/manifest.hpp"

namespace refract {

using Work = Ticket::Work;

namespace {

Communicator group_of(Communicator& world, const RolePlan& plan, Role role) {
  const bool member = plan.roles[static_cast<std::size_t>(world.rank())].contains(role);
  return world.split(member ? 0 : 1, world.rank());
}

// Neighbouring ranks; 0 where their number does not fit, which training_layout() refuses.
int group_number(const RunConfig& config, const Communicator& trainers) {
  const auto ranks = static_cast<std::uint64_t>(trainers.size()), groups = config.train.groups;
  if (groups > ranks || ranks % groups != 0) return 0;
  return trainers.rank() / static_cast<int>(ranks / groups);
}

}  // namespace

Worker::Worker(Session& session, Communicator& world, const RolePlan& plan, Device device,
               std::function<void()> desk)
    : session_(session),
      world_(world),
      draws_(!plan.split && world.rank() == 0),
      extractors_(group_of(world, plan, Role::extract)),
      trainers_(group_of(world, plan, Role::train)),
      group_(trainers_.split(group_number(session.config(), trainers_), trainers_.rank())),
      desk_(std::move(desk)),
      device_(device) {}

bool Worker::collective_work() {
  using namespace std::chrono_literals;
  constexpr auto kShortest = 50us, kLongest = 2000us;
  auto pause = std::chrono::microseconds(kShortest);
  while (!ended_) {
    breathe();
    if (!ticket_) {
      waiting("a ticket");
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::microseconds>(2 * pause, kLongest);
      continue;
    }
    work(*std::exchange(ticket_, std::nullopt));
    pause = kShortest;
  }
  working("what follows the tickets");
  return stopped_;
}

// Between the pieces of a ticket's work, and while there is none.
void Worker::breathe() {
  tick();
  desk_();
  if (checkpoints_) checkpoints_->poll();
  take_messages();
  if (stop_requested() && !told_stop_) {
    told_stop_ = true;
    report("stop", Json::object());
  }
}

// Until the checkpoint on its way is in the hands of the coordinator.
void Worker::settle_checkpoint() {
  using namespace std::chrono_literals;
  while (checkpoints_->pending()) {
    breathe();
    std::this_thread::sleep_for(500us);
  }
}

// The one before it first.
void Worker::collective_save(Checkpoints::Reason reason, const std::vector<std::string>& metrics) {
  const double since_s = monotonic_s();
  settle_checkpoint();
  saving_since_s_ = since_s;
  checkpoints_->collective_save(position_, reason, metrics, saes_, *runner_);
}

void Worker::take_messages() {
  while (const std::optional<Message> message = world_.try_receive(kToRank)) {
    const Json json = Json::parse(message->text);
    const std::string kind = json.at("kind");
    if (kind == "stop") {
      told_stop_ = true;
      request_stop();
    } else if (kind == "named") {
      checkpoints_->prune();
    } else if (kind == "ticket") {
      ticket_ = ticket_from(json.at("ticket"));
      chunk_digest_ = json.value("digest", "");
    } else {
      ended_ = true;
      stopped_ = json.at("stopped");
    }
    if (json.contains("shards")) session_.corpus().admit(admitted_from(json));
  }
}

void Worker::report(const char* kind, Json more) {
  Json message{{"kind", kind}};
  message.update(more);
  world_.send(0, kToCoordinator, message.dump());
}

void Worker::work(const Ticket& ticket) {
  working(fmt::format("{} {}", name(ticket.work), ticket.index));
  rows_ = 0;
  Json result;
  try {
    result = result_of(ticket);
  } catch (const StopRequested&) {
    result = {{"stopped", true}};
  } catch (const Damaged& error) {
    // What a start finds damaged it makes again; this was damaged since.
    throw Damaged("{}; start the same command again: what can be made again is", error.what());
  }
  report("done", {{"ticket", to_json(ticket)}, {"rows", rows_}, {"result", result}});
}

Json Worker::result_of(const Ticket& ticket) {
  switch (ticket.work) {
    case Work::download:
      return {{"made", session_.corpus().download_shard(ticket.index, [&] { breathe(); })}};
    case Work::tokenize:
      return {{"made", session_.corpus().tokenize_shard(ticket.index, [&] { breathe(); })}};
    case Work::prepare: return collective_prepare();
    case Work::extract: return collective_extract(ticket.index);
    case Work::restore: return collective_restore();
    case Work::train: return collective_train(ticket.index);
    case Work::evict: break;
  }
  return {};
}

Json Worker::collective_prepare() {
  const bool made = session_.store().collective_prepare(extractors_);
  return {{"made", made},
          {"calibration", session_.store().calibration_digest()},
          {"heldout", session_.store().open_heldout().content_digest()}};
}

// Of a chunk that was sealed just before a kill, so that the ledger did not hear of it: its digest
// when every block is whole, each rank looking at its share. Else it goes.
std::string Worker::collective_find_whole(const ChunkSpec& spec) {
  const fs::path path = session_.folder().chunk(spec.chunk);
  if (extractors_.all_reduce_max(fs::exists(path) ? 0 : 1) != 0) return "";
  std::string digest;
  try {
    const ChunkReader chunk(path, spec.parents);
    const Share share = share_of(chunk.blocks(), extractors_.rank(), extractors_.size());
    chunk.verify_blocks(share.first, share.count);
    if (chunk.rows() == spec.rows && chunk.spec().block_rows == spec.block_rows)
      digest = chunk.content_digest();
  } catch (const Damaged& error) {
    warn(fmt::format("{}; it is made again", error.what()));
  }
  if (extractors_.all_reduce_max(digest.empty() ? 1 : 0) == 0) return digest;
  if (extractors_.rank() == 0) remove_all_quietly(path);
  extractors_.barrier();
  return "";
}

Json Worker::collective_extract(std::uint64_t chunk) {
  session_.store().open();
  const ChunkShape shape = session_.corpus().order().chunk_shape(chunk);
  const ChunkSpec spec = session_.store().chunk_spec(shape);
  Extraction found{.digest = collective_find_whole(spec)};
  if (found.digest.empty()) found = collective_write_chunk(spec, shape);
  return {{"digest", found.digest},
          {"rows", spec.rows},
          {"made", found.made},
          {"stopped", found.stopped}};
}

Extraction Worker::collective_write_chunk(const ChunkSpec& spec, const ChunkShape& shape) {
  Run& run = session_.run();
  BlockComputer computer(run.model(), run.hooks(), session_.corpus().tokens(),
                         session_.store().sink_thresholds(), spec.dtype);
  Progress progress(fmt::format("extract {} of {}", shape.chunk + 1, session_.plan().chunks),
                    shape.rows, "rows", !draws_);
  const auto after_block = [&](std::uint64_t more) {
    progress.advance(more);
    rows_ = std::min(rows_ + more, shape.rows);
    report_progress({Work::extract, shape.chunk}, extractors_, rows_, shape.rows, rows_);
    breathe();
  };
  const Extraction extraction = refract::collective_extract(
      run.folder().chunk(shape.chunk), spec,
      [&](std::uint64_t block) { return session_.corpus().plan_block(shape, block); }, computer,
      {.after_block = after_block, .before_seal = [&] { run.expect_own(); }}, extractors_);
  progress.finish();
  return extraction;
}

Json Worker::collective_restore() {
  session_.store().open();
  const RunConfig& config = session_.config();
  if (trainers_.rank() == 0)
    for (const SaeConfig& sae : config.saes) make_folder(session_.folder().checkpoints(sae.name));
  trainers_.barrier();
  const TrainingLayout layout =
      training_layout(config, session_.run().model_info(), trainers_.size());
  train_ = config.train;
  train_.exchange = layout.exchange;
  runner_ = std::make_unique<StepRunner>(
      train_, session_.plan().steps,
      Mesh::collective_make(group_, layout.mesh, device_,
                            train_.wire == "bf16" ? Wire::bf16 : Wire::fp32));
  const std::vector<std::size_t> own = saes_of_groups(
      config, layout.groups)[static_cast<std::size_t>(group_number(config, trainers_))];
  std::vector<SaeConfig> saes;
  for (const std::size_t i : own) saes.push_back(config.saes[i]);
  saes_ = make_trained_saes(saes, session_.store().calibration(),
                            dead_threshold(config.store.chunk_rows, session_.plan().rows),
                            runner_.get());
  checkpoints_ = std::make_unique<Checkpoints>(
      checkpointed_run(session_, own), group_, trainers_, [&](const CheckpointRecord& record) {
        report("checkpoint", {{"record", Json::parse(to_text(record))},
                              {"took_s", monotonic_s() - saving_since_s_}});
      });
  const Checkpoints::Restored restored = checkpoints_->collective_restore(saes_, *runner_);
  position_ = restored.position;
  Json withdrawn = Json::array();
  for (const auto& [record, cause] : restored.withdrawn)
    withdrawn.push_back({{"record", Json::parse(to_text(record))}, {"cause", cause}});
  return {{"withdrawn", withdrawn}};
}

// Nothing when a block is damaged. Each rank looks at the blocks it is going to train on, and reads
// them from the same reader, which does not hash them again. Nothing has been changed by then, so
// a chunk that is damaged can be made again.
std::optional<ChunkReader> Worker::collective_open_whole(const ChunkVisit& visit) {
  std::optional<ChunkReader> chunk;
  try {
    chunk = session_.store().open_chunk(visit.shape.chunk, chunk_digest_);
    const Share share = share_of(chunk->blocks(), group_.rank(), group_.size());
    chunk->verify_blocks(share.first, share.count);
  } catch (const Damaged& error) {
    chunk.reset();
    warn(fmt::format("{}; the chunk is made again", error.what()));
  }
  if (trainers_.all_reduce_max(chunk ? 0 : 1) != 0) chunk.reset();
  return chunk;
}

Json Worker::collective_train(std::uint64_t visit_number) {
  const TrainConfig& train = session_.config().train;
  ChunkVisit visit = session_.visit(visit_number);
  visit.steps_done = position_.steps_in_visit;
  const std::optional<ChunkReader> chunk = collective_open_whole(visit);
  if (!chunk) return {{"damaged", true}};
  const std::uint64_t steps = visit.steps(train), from = visit.steps_done;
  if (from == 0)
    for (TrainedSae& sae : saes_) sae.log = {};
  Progress progress(fmt::format("train {} of {}", visit_number + 1, session_.plan().visits),
                    (steps - from) * train.batch_rows, "rows", !draws_);
  const double started_s = monotonic_s();
  double saved_s = started_s;
  const auto after_step = [&](std::uint64_t done) {
    progress.advance(train.batch_rows);
    if (const VisitLog& log = saes_.front().log; log.steps > 0)
      progress.note(
          fmt::format("squared error {:.3f}", log.squared_error / static_cast<double>(log.steps)));
    rows_ = (done - from) * train.batch_rows;
    report_progress({Work::train, visit_number}, trainers_, done, steps, rows_);
    breathe();
    const bool due = monotonic_s() - saved_s > session_.config().checkpoint.every_s;
    const std::uint64_t wish = trainers_.all_reduce_max(stop_requested() ? 2 : due ? 1 : 0);
    if (wish == 0 || done == steps) return true;
    position_.steps_in_visit = done;
    collective_save(wish == 2 ? Checkpoints::Reason::stop : Checkpoints::Reason::interval, {});
    if (wish == 2) settle_checkpoint();
    saved_s = monotonic_s();
    return wish < 2;
  };
  const std::uint64_t done = collective_train_chunk(saes_, *chunk, visit, session_.corpus().order(),
                                                    train, *runner_, after_step);
  progress.finish();
  if (done < steps) return {{"made", true}, {"stopped", true}};

  position_ = {.visit = visit_number + 1,
               .steps_in_visit = 0,
               .store_running = extend_digest(position_.store_running, chunk->content_digest())};
  const std::vector<std::string> metrics =
      collective_metrics_lines(session_, saes_, visit_number, *runner_);
  if (group_.rank() == 0) log_timing(visit_number, steps - from, monotonic_s() - started_s);
  collective_save(Checkpoints::Reason::visit_done, metrics);
  return {{"made", true}};
}

void Worker::log_timing(std::uint64_t visit, std::uint64_t steps, double seconds) {
  for (const TrainedSae& sae : saes_)
    AppendLog(session_.folder().timing(sae.config.name))
        .append(fmt::format(
            R"({{"visit":{},"steps":{},"seconds":{:.3f},"rows_per_s":{:.1f}}})", visit, steps,
            seconds, static_cast<double>(steps * session_.config().train.batch_rows) / seconds));
}

// A few times a second, from the first rank of a group.
void Worker::report_progress(const Ticket& ticket, const Communicator& group, std::uint64_t done,
                             std::uint64_t total, std::uint64_t rows) {
  constexpr double kInterval_s = 0.5;
  const double now = monotonic_s();
  if (group.rank() != 0 || now - reported_s_ < kInterval_s) return;
  reported_s_ = now;
  report("progress", {{"ticket", to_json(ticket)},
                      {"share", static_cast<double>(done) / static_cast<double>(total)},
                      {"rows", rows}});
}

}  // namespace refract
