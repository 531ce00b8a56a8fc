#include "refract/pipeline/run_store.hpp"

#include <fmt/format.h>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/stages/calibrate.hpp"
#include "refract/stages/extract.hpp"
#include "refract/store/manifest.hpp"

namespace refract {

std::vector<double> RunStore::sink_thresholds() const {
  std::vector<double> thresholds;
  for (const std::string& hook : run_.config().hooks)
    thresholds.push_back(calibration().of(hook).sink_threshold);
  return thresholds;
}

std::string RunStore::settings_text() const {
  return fmt::format("store {}\nmodel={}\n{}{}", kSchemaVersion, run_.inputs().model_digest,
                     corpus_.identity(), as_text(store_settings(run_.config())));
}

// `settings` covers all of them; the others are there to be named when they differ.
Parents RunStore::calibration_parents() const {
  return {{"corpus", run_.inputs().corpus.digest},
          {"model", run_.inputs().model_digest},
          {"settings", short_digest(settings_text())},
          {"tokenizer", run_.tokenizer().digest()}};
}

void RunStore::open() {
  if (is_open()) return;
  calibration_ = read_calibration(run_.folder().calibration(), calibration_parents());
  digest_ = store_digest(settings_text(), calibration_.content_digest);
}

ChunkReader RunStore::open_heldout() const {
  return ChunkReader(run_.folder().heldout(), parents());
}

ChunkReader RunStore::open_chunk(std::uint64_t chunk, const std::string& digest) const {
  const fs::path file = run_.folder().chunk(chunk);
  if (!fs::exists(file)) throw Damaged("{} is missing", file.string());
  ChunkReader reader(file, parents());
  if (reader.content_digest() != digest)
    throw Damaged("{} is not the chunk that the ledger names: its digest is {}, not {}",
                  file.string(), reader.content_digest(), digest);
  return reader;
}

ChunkSpec RunStore::chunk_spec(const ChunkShape& shape) const {
  ChunkSpec spec{.chunk = shape.chunk,
                 .permuted = true,
                 .rows = shape.rows,
                 .block_rows = shape.block_rows,
                 .dtype = dtype_from_name(run_.config().store.dtype),
                 .hooks = {},
                 .stage = "extract",
                 .parents = parents()};
  for (const std::string& hook : run_.config().hooks)
    spec.hooks.push_back({hook, calibration().of(hook).d_in});
  return spec;
}

// Rethrows what is not ours to mend.
void RunStore::say_what_is_made_again(const DataError& error) const {
  const bool damaged = dynamic_cast<const Damaged*>(&error) != nullptr;
  if (!damaged && !run_.inputs().own_store) throw error;
  warn(damaged ? fmt::format("{}; it is made again", error.what())
               : fmt::format("a file of this store is of another ({}); it is made again",
                             error.what()));
}

bool RunStore::collective_calibrate(Communicator& ranks) {
  bool whole = ranks.rank() != 0;
  if (!whole && fs::exists(run_.folder().calibration())) {
    try {
      (void)read_calibration(run_.folder().calibration(), calibration_parents());
      whole = true;
    } catch (const DataError& error) {
      say_what_is_made_again(error);
    }
  }
  if (ranks.all_reduce_max(whole ? 0 : 1) == 0) return false;
  const RunConfig& config = run_.config();
  const CalibrationPlan plan =
      plan_calibration(config.calibration, corpus_.tokens(), config.tokens.window_shards,
                       run_.row_rule(), config.store.seed);
  const CalibrationData data = refract::collective_calibrate(
      plan, run_.model(), run_.hooks(), corpus_.tokens(), config.rows.sink_ratio, ranks);
  if (ranks.rank() == 0) {
    run_.expect_own();
    write_calibration(run_.folder().calibration(), data, calibration_parents());
  }
  ranks.barrier();
  return true;
}

// Each rank its share of the blocks.
bool RunStore::collective_heldout_is_whole(Communicator& ranks) const {
  std::string damage;
  if (ranks.all_reduce_max(fs::exists(run_.folder().heldout()) ? 0 : 1) != 0) return false;
  try {
    const ChunkReader heldout = open_heldout();
    const Share share = share_of(heldout.blocks(), ranks.rank(), ranks.size());
    heldout.verify_blocks(share.first, share.count);
  } catch (const DataError& error) {
    damage = error.what();
    say_what_is_made_again(error);
  }
  if (ranks.all_reduce_max(damage.empty() ? 0 : 1) == 0) return true;
  if (ranks.rank() == 0) remove_all_quietly(run_.folder().heldout());
  ranks.barrier();
  return false;
}

void RunStore::collective_write_heldout(Communicator& ranks) {
  const HeldoutConfig& config = run_.config().heldout;
  const HeldoutPlan plan = corpus_.plan_heldout();
  if (plan.rows == 0)
    throw DataError(
        "no held-out document fits heldout.rows ({}) and heldout.max_tokens ({}). Raise them or "
        "heldout.share.",
        config.rows, config.max_tokens);
  ChunkSpec spec = chunk_spec({.rows = plan.rows, .block_rows = run_.config().store.block_rows});
  spec.permuted = false;
  BlockComputer computer(run_.model(), run_.hooks(), corpus_.tokens(), sink_thresholds(),
                         spec.dtype);
  Progress progress("held-out rows", plan.rows, "rows", ranks.rank() != 0);
  const Extraction extraction = collective_extract(
      run_.folder().heldout(), spec, [&](std::uint64_t b) { return plan.blocks.at(b); }, computer,
      {.after_block = [&](std::uint64_t rows) { progress.advance(rows); },
       .before_seal = [&] { run_.expect_own(); }},
      ranks);
  progress.finish();
  if (extraction.stopped) throw_stopped();
  if (ranks.rank() == 0)
    say(fmt::format(
        "held out: {} rows of {} documents{}", plan.rows, plan.documents,
        plan.limit.empty()
            ? ""
            : fmt::format("; {} further held-out documents unused: the next would exceed {}",
                          plan.unused_documents, plan.limit)));
}

bool RunStore::collective_prepare(Communicator& ranks) {
  if (ranks.rank() == 0) make_folder(run_.folder().store);
  ranks.barrier();
  bool made = collective_calibrate(ranks);
  open();
  if (!collective_heldout_is_whole(ranks)) {
    collective_write_heldout(ranks);
    made = true;
  }
  ranks.barrier();
  return made;
}

}  // namespace refract
