#include "refract/pipeline/evidence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

ChunkSpec spec_of(const Session& session, const EvidencePlan& plan) {
  ChunkSpec spec = session.store().chunk_spec({.rows = plan.rows(), .block_rows = plan.block_rows});
  spec.stage = "evidence";
  spec.parents["plan"] = plan.digest();
  return spec;
}

// Nothing when it is not there, damaged, of another plan or of another store: it is derived, and
// made anew.
std::optional<ChunkReader> open_evidence(const Session& session, const EvidencePlan& plan) {
  const fs::path file = session.folder().evidence();
  if (!fs::exists(file)) return std::nullopt;
  try {
    ChunkReader evidence(file, {{"store", session.store().digest()}});
    if (evidence.spec().parents == spec_of(session, plan).parents) return evidence;
  } catch (const DataError& error) {
    warn(fmt::format("the evidence cannot be used ({}); it is made again", error.what()));
  }
  return std::nullopt;
}

// Writes the blocks of the plan that `takes` names and that are not there, each as `rows_of` gives
// it.
class EvidenceWriter {
 public:
  EvidenceWriter(Session& session, const EvidencePlan& plan)
      : session_(session),
        plan_(plan),
        alone_(Communicator::loopback()),
        writer_(ChunkWriter::collective_open(session.folder().evidence(), spec_of(session, plan),
                                             alone_)),
        missing_(plan.blocks.size() - writer_.good_blocks().size()) {}

  [[nodiscard]] bool has(std::size_t i) const {
    return written_.contains(i) || std::ranges::binary_search(writer_.good_blocks(), i);
  }
  [[nodiscard]] std::size_t missing() const { return missing_; }
  void copy(std::size_t i, const ChunkReader& chunk) {
    const std::uint64_t n = plan_.block_rows, first = plan_.blocks[i].block * n;
    std::vector<std::vector<float>> values;
    std::vector<std::vector<std::uint8_t>> sinks;
    std::vector<HookRows> hooks;
    for (std::size_t h = 0; h < chunk.spec().hooks.size(); ++h) {
      values.emplace_back(n * chunk.spec().hooks[h].d_in);
      chunk.read_rows(h, first, n, values.back());
      sinks.emplace_back(n);
      chunk.read_hook_excluded(h, first, n, sinks.back());
      hooks.push_back({values.back(), sinks.back()});
    }
    write(i, chunk.read_identity(first, n), hooks);
  }
  void compute(std::size_t i, BlockComputer& computer, Stream& stream) {
    const EvidenceBlock& from = plan_.blocks[i];
    const BlockRows rows = computer.compute(
        session_.corpus().plan_block(session_.corpus().order().chunk_shape(from.chunk), from.block),
        stream);
    write(i, rows.identity, hook_rows(rows));
  }
  // Seals the file when nothing is missing.
  void finish() {
    if (missing_ > 0) return writer_.collective_close();
    session_.run().expect_own();
    writer_.collective_seal();
  }

 private:
  void write(std::size_t i, const RowIdentity& identity, const std::vector<HookRows>& hooks) {
    writer_.write_block(i, identity, hooks);
    written_.insert(i);
    --missing_;
    tick();
  }

  Session& session_;
  const EvidencePlan& plan_;
  Communicator alone_;
  ChunkWriter writer_;
  std::size_t missing_;
  std::set<std::size_t> written_;
};

}  // namespace

std::string EvidencePlan::digest() const {
  std::string text = fmt::format("evidence block_rows {}\n", block_rows);
  for (const EvidenceBlock& block : blocks)
    text += fmt::format("{} {}\n", block.chunk, block.block);
  return short_digest(text);
}

EvidencePlan plan_evidence(const OrderRule& rule, std::uint64_t rows, std::uint64_t wanted) {
  const std::uint64_t rest = rows % rule.chunk_rows / rule.batch_rows * rule.slice_rows();
  EvidencePlan plan{.block_rows = rule.block_rows, .blocks = {}};
  std::uint64_t chunks = rows / rule.chunk_rows;
  if (chunks == 0 && rest > 0) {
    plan.block_rows = rest;
    chunks = 1;
  }
  const std::uint64_t blocks =
      std::min(chunks * rule.blocks(), std::max<std::uint64_t>(1, wanted / plan.block_rows));
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::uint64_t count = (chunk + 1) * blocks / chunks - chunk * blocks / chunks;
    for (std::uint64_t block = 0; block < count; ++block) plan.blocks.push_back({chunk, block});
  }
  return plan;
}

EvidencePlan plan_evidence(const Session& session) {
  return plan_evidence(
      order_rule(session.config()),
      session.corpus().complete() ? session.corpus().order().rows() : session.plan().rows,
      session.config().probe.tokens);
}

struct EvidenceKeeper::Open {
  Session& session;
  EvidencePlan plan;
  std::optional<EvidenceWriter> writer = {};
  bool whole = false;
};

EvidenceKeeper::EvidenceKeeper(Session& session)
    : open_(std::make_unique<Open>(Open{session, plan_evidence(session)})) {
  open_->whole = open_evidence(session, open_->plan).has_value();
}

EvidenceKeeper::~EvidenceKeeper() = default;

void EvidenceKeeper::keep(std::uint64_t chunk, const std::string& digest) {
  if (open_->whole) return;
  const auto& blocks = open_->plan.blocks;
  const auto [first, end] = std::ranges::equal_range(blocks, chunk, {}, &EvidenceBlock::chunk);
  std::optional<ChunkReader> reader;
  for (auto block = first; block != end; ++block) {
    const auto i = static_cast<std::size_t>(block - blocks.begin());
    if (!open_->writer) open_->writer.emplace(open_->session, open_->plan);
    if (open_->writer->has(i)) continue;
    if (!reader) reader = open_->session.store().open_chunk(chunk, digest);
    open_->writer->copy(i, *reader);
  }
  if (open_->writer && open_->writer->missing() == 0) {
    open_->writer->finish();
    open_->writer.reset();
    open_->whole = true;
  }
}

namespace {

// From the chunk's file; false where it is not there or not whole.
bool copy_block(const Session& session, const EvidencePlan& plan, std::size_t i,
                const std::map<std::uint64_t, ChunkRecord>& sealed,
                std::optional<ChunkReader>& reader, EvidenceWriter& writer) {
  const std::uint64_t chunk = plan.blocks[i].chunk;
  const auto record = sealed.find(chunk);
  if (record == sealed.end()) return false;
  try {
    if (!reader || reader->spec().chunk != chunk)
      reader = session.store().open_chunk(chunk, record->second.digest);
    writer.copy(i, *reader);
    return true;
  } catch (const Damaged& error) {
    warn(fmt::format("{}; its evidence is computed", error.what()));
    reader.reset();
    return false;
  }
}

}  // namespace

bool complete_evidence(Session& session, const std::map<std::uint64_t, ChunkRecord>& sealed) {
  const EvidencePlan plan = plan_evidence(session);
  if (const auto evidence = open_evidence(session, plan)) {
    try {
      evidence->verify_blocks();
      return false;
    } catch (const Damaged& error) {
      warn(fmt::format("{}; it is made again", error.what()));
      remove_all_quietly(session.folder().evidence());
    }
  }
  EvidenceWriter writer(session, plan);
  std::optional<ChunkReader> reader;
  std::optional<BlockComputer> computer;
  Stream stream;
  Progress progress("evidence rows", plan.rows(), "rows");
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    progress.advance(plan.block_rows);
    if (writer.has(i)) continue;
    if (stop_requested()) {
      writer.finish();
      throw_stopped();
    }
    if (copy_block(session, plan, i, sealed, reader, writer)) continue;
    if (!computer)
      computer.emplace(session.run().model(), session.run().hooks(), session.corpus().tokens(),
                       session.store().sink_thresholds());
    writer.compute(i, *computer, stream);
  }
  writer.finish();
  progress.finish();
  return true;
}

}  // namespace refract
