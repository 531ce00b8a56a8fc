// Checkpoints written and read by the ranks of a mesh, each what it owns: the bytes of one rank.
#include "refract/pipeline/checkpoints.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <tuple>

#include "refract/base/file.hpp"
#include "refract/store/safetensors.hpp"
#include "support/shared_folder.hpp"
#include "support/world.hpp"
#include "unit/sae/problem.hpp"

namespace refract {
namespace {

using namespace testing_support;

constexpr std::size_t kDim = 70, kRows = 48, kSliceRows = 6;  // more than a tile of 64 columns
constexpr std::uint64_t kSteps = 6;

// One without a threshold, one with; panels of which the last is cut. `few`: of the second, where
// it has fewer panels than four ranks, so that one of them may own nothing.
constexpr std::size_t kMany = 200, kFew = 130;

std::vector<Problem> problems(std::size_t few) {
  std::vector<Problem> all;
  for (const auto& [variant, d_sae] : {std::pair("topk", kMany), std::pair("batchtopk", few)}) {
    Problem& made =
        all.emplace_back(make_problem(kDim, d_sae, 5, kRows, kSliceRows, true, 7, variant));
    made.config.name = variant;
    std::uint64_t seed = 100;
    for (SaeParameters* part : {&made.state.m, &made.state.v})
      for (const auto& [name, tensor] : named_tensors(*part))
        fill_normal(tensor.span(), ++seed, 1e-3);
    for (const auto& [name, tensor] : named_tensors(made.state.v))
      for (float& value : tensor.span()) value = std::abs(value);
    made.state.step = 3;
  }
  return all;
}
std::vector<TrainedSae> whole_saes(std::size_t few) {
  std::vector<TrainedSae> saes;
  for (Problem& problem : problems(few)) saes.push_back(std::move(problem));
  return saes;
}

// A start of a run that is nothing but a folder, a ledger and checkpoints. Collective to make.
class DealtRun {
 public:
  DealtRun(Communicator& ranks, fs::path root, const MeshShape& shape, const std::string& exchange,
           std::size_t few)
      : few_(few), ranks_(ranks), folder_(run_folder(root, "model")) {
    config_.run = root;
    config_.checkpoint.every_s = 1e9;
    config_.train.exchange = exchange;
    for (const Problem& problem : problems(few)) config_.saes.push_back(problem.config);
    if (ranks_.rank() == 0) {
      for (const SaeConfig& sae : config_.saes) make_folder(folder_.checkpoints(sae.name));
      ledger_ = std::make_unique<Ledger>(folder_.ledger());
    }
    ranks_.barrier();
    runner_ =
        std::make_unique<StepRunner>(config_.train, kSteps, Mesh::collective_make(ranks_, shape));
    checkpoints_ = std::make_unique<Checkpoints>(
        CheckpointedRun{.config = config_,
                        .folder = folder_,
                        .store = "store",
                        .saes = config_.saes,
                        .training_digests = {"training a", "training b"},
                        .visits = [] { return 2; },
                        .initial = [few] { return whole_saes(few); },
                        .expect_own = [] {}},
        ranks_, [this](const CheckpointRecord& record) { ledger_->checkpointed(record); });
    saes_ = whole_saes(few);
    for (TrainedSae& sae : saes_) runner_->take_tile(sae);
    restored_ = checkpoints_->collective_restore(saes_, *runner_);
    for (const auto& [record, cause] : restored_.withdrawn) ledger_->withdrawn(record, cause);
  }
  void collective_save(const TrainingPosition& position, Checkpoints::Reason reason) {
    const std::vector<std::string> lines(
        ranks_.rank() == 0 && reason == Checkpoints::Reason::visit_done ? saes_.size() : 0, "{}");
    checkpoints_->collective_save(position, reason, lines, saes_, *runner_);
  }
  void poll() { checkpoints_->poll(); }
  // Collective in effect: rank 0 waits for the others.
  void settle() {
    while (checkpoints_->pending()) checkpoints_->poll();
    if (ranks_.rank() == 0) checkpoints_->prune();
    ranks_.barrier();
  }
  void collective_train(std::uint64_t steps) {
    const std::vector<Problem> data = problems(few_);
    const Share slices = runner_->mesh().rows_of(kRows / kSliceRows);
    for (std::uint64_t step = 0; step < steps; ++step)
      for (std::size_t i = 0; i < saes_.size(); ++i)
        runner_->collective_step(
            saes_[i], data[i].part(slices.first * kSliceRows, slices.count * kSliceRows));
    for (TrainedSae& sae : saes_) runner_->collective_finish(sae);
  }
  [[nodiscard]] std::vector<TrainedSae>& saes() { return saes_; }
  [[nodiscard]] StepRunner& runner() { return *runner_; }
  [[nodiscard]] const Checkpoints::Restored& restored() const { return restored_; }
  [[nodiscard]] const RunFolder& folder() const { return folder_; }

 private:
  std::size_t few_;
  Communicator& ranks_;
  RunFolder folder_;
  RunConfig config_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::vector<TrainedSae> saes_;
  Checkpoints::Restored restored_;
};

const TrainingPosition kFirst{.visit = 1, .steps_in_visit = 0, .store_running = {}},
    kLast{.visit = 2, .steps_in_visit = 0, .store_running = {}};

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

std::string bytes_of(const SaeState& state) {
  std::string bytes;
  const auto add = [&](const auto& view) {
    bytes.append(reinterpret_cast<const char*>(view.data()), view.size() * sizeof(*view.data()));
  };
  for (const SaeParameters* part : {&state.parameters, &state.m, &state.v})
    for (const auto& [name, tensor] : named_tensors(*part)) add(tensor);
  add(state.age.view());
  return bytes + fmt::format("{} {} {}", state.step, state.trained_rows, state.scalars.size());
}

class CheckpointsOfAMesh : public ::testing::TestWithParam<std::tuple<std::string, std::size_t>> {
 protected:
  void SetUp() override {
    if (size() % columns() != 0) GTEST_SKIP() << "no mesh of " << columns() << " columns here";
  }
  static std::size_t size() { return static_cast<std::size_t>(test::world().size()); }
  static bool root() { return test::world().rank() == 0; }
  static std::string exchange() { return std::get<0>(GetParam()); }
  static std::size_t columns() { return std::get<1>(GetParam()); }
  static std::size_t few() { return columns() < 4 ? kFew : kMany; }  // every column has a panel
  [[nodiscard]] DealtRun run(const char* name = "run") const {
    return {test::world(), root_ / name, {size() / columns(), columns()}, exchange(), few()};
  }
  [[nodiscard]] fs::path tensors(const char* sae, const char* checkpoint) const {
    return run_folder(root_ / "run", "model").checkpoints(sae) / checkpoint /
           "trainer_state.safetensors";
  }

  test::SharedFolder shared_{"checkpoints_of_a_mesh"};
  fs::path root_ = shared_.path();
};

TEST_P(CheckpointsOfAMesh, have_the_bytes_that_one_rank_writes) {
  DealtRun ranks = run();
  ranks.collective_save(kFirst, Checkpoints::Reason::visit_done);
  ranks.settle();
  ranks.collective_save(kLast, Checkpoints::Reason::visit_done);  // the end: with `latest`
  ranks.settle();
  if (root()) {
    Communicator loopback = Communicator::loopback();
    DealtRun alone(loopback, root_ / "alone", {1, 1}, "all_reduce", few());
    alone.collective_save(kFirst, Checkpoints::Reason::visit_done);
    alone.settle();
    alone.collective_save(kLast, Checkpoints::Reason::visit_done);
    alone.settle();

    const auto made = files_of(root_ / "run"), expected = files_of(root_ / "alone");
    EXPECT_GE(made.size(), 2 * (2 * 5 + 3) + 3U);
    EXPECT_EQ(made.size(), expected.size());
    for (const auto& [name, bytes] : expected)
      EXPECT_TRUE(made.contains(name) && made.at(name) == bytes) << name;
  }
  test::world().barrier();
}

// The others do not look at theirs yet, so rank 0 does not hear that they are done.
TEST_P(CheckpointsOfAMesh, get_their_name_when_every_rank_has_settled_what_it_wrote) {
  using namespace std::chrono_literals;
  if (size() == 1) GTEST_SKIP() << "nobody to wait for";
  DealtRun ranks = run();
  ranks.collective_save(kFirst, Checkpoints::Reason::visit_done);
  if (root()) {
    for (const auto end = std::chrono::steady_clock::now() + 200ms;
         std::chrono::steady_clock::now() < end;)
      ranks.poll();
    EXPECT_FALSE(fs::exists(tensors("topk", "chunk-000000")));
  }
  test::world().barrier();

  ranks.settle();

  EXPECT_TRUE(fs::exists(tensors("topk", "chunk-000000")));
}

// The file as it is written without a thought of owners.
TEST_P(CheckpointsOfAMesh, hold_every_tensor_where_the_format_says) {
  DealtRun ranks = run();
  ranks.collective_save(kFirst, Checkpoints::Reason::visit_done);
  ranks.settle();
  if (root()) {
    for (const TrainedSae& sae : whole_saes(few())) {
      std::vector<StoredTensor> stored;
      const auto add = [&](const std::string& prefix, const SaeParameters& part) {
        for (const auto& [name, tensor] : named_tensors(part)) {
          std::vector<std::size_t> shape{tensor.axis(0)};
          if (tensor.shape().rank() == 2) shape.push_back(tensor.axis(1));
          stored.push_back(stored_tensor<float>(prefix + name, DType::f32, shape, tensor.span()));
        }
      };
      add("", sae.state.parameters);
      add("m.", sae.state.m);
      add("v.", sae.state.v);
      stored.push_back(stored_tensor<std::uint64_t>("age", DType::u64, {sae.state.age.size()},
                                                    sae.state.age.span()));
      write_safetensors(root_ / "plain", stored);
      EXPECT_TRUE(read_file(tensors(sae.config.name.c_str(), "chunk-000000")) ==
                  read_file(root_ / "plain"))
          << sae.config.name;
    }
  }
  test::world().barrier();
}

TEST_P(CheckpointsOfAMesh, are_read_by_any_other_mesh) {
  std::vector<SaeState> whole;
  {
    DealtRun writers = run();
    writers.collective_train(1);
    writers.collective_save(kFirst, Checkpoints::Reason::visit_done);
    writers.settle();
    for (TrainedSae& sae : writers.saes()) whole.push_back(writers.runner().collective_whole(sae));
  }
  for (const char* other : {"all_reduce", "sharded"})
    for (const MeshShape& shape : {MeshShape{size(), 1}, MeshShape{1, size()}}) {
      DealtRun readers(test::world(), root_ / "run", shape, other, few());

      EXPECT_EQ(readers.restored().position.visit, 1U);
      for (std::size_t i = 0; i < whole.size(); ++i) {
        const SaeState& mine = readers.saes()[i].state;
        const SaeState expected = readers.runner().tile_of(whole[i]);
        EXPECT_EQ(mine.parameters.first_feature, expected.parameters.first_feature);
        EXPECT_EQ(mine.m.first_feature, expected.m.first_feature);
        EXPECT_TRUE(bytes_of(mine) == bytes_of(expected)) << i;
      }
    }
}

TEST_P(CheckpointsOfAMesh, that_are_damaged_in_one_panel_are_gone_back_from_by_all_ranks) {
  {
    DealtRun ranks = run();
    ranks.collective_save(kFirst, Checkpoints::Reason::visit_done);
    ranks.settle();
    ranks.collective_train(1);
    ranks.collective_save(kLast, Checkpoints::Reason::visit_done);
    ranks.settle();
  }
  std::uint64_t bytes = 0;
  if (root()) bytes = fs::file_size(tensors("batchtopk", "chunk-000001"));
  bytes = test::world().all_reduce_max(bytes);
  for (const std::uint64_t back : {5U, 100'000U}) {  // of the last tensor's last panel; elsewhere
    const auto flip = [&] {
      if (root()) {
        const fs::path path = tensors("batchtopk", "chunk-000001");
        std::string content = read_file(path);
        content[bytes - back] = static_cast<char>(content[bytes - back] ^ 0x20);
        write_file(path, content);
      }
      test::world().barrier();
    };
    flip();

    DealtRun ranks = run();

    EXPECT_EQ(ranks.restored().position.visit, 1U);
    EXPECT_EQ(ranks.restored().withdrawn.size(), root() ? 1U : 0U);
    const std::vector<TrainedSae> whole = whole_saes(few());
    for (std::size_t i = 0; i < whole.size(); ++i)
      EXPECT_TRUE(bytes_of(ranks.saes()[i].state) ==
                  bytes_of(ranks.runner().tile_of(whole[i].state)));
    ranks.collective_train(1);
    ranks.collective_save(kLast, Checkpoints::Reason::visit_done);  // made again
    ranks.settle();
  }
}

TEST_P(CheckpointsOfAMesh, within_a_chunk_lead_to_the_bytes_of_never_stopping) {
  DealtRun stayed = run("stayed");
  stayed.collective_train(2 + 2);
  {
    DealtRun first = run();
    first.collective_train(2);
    first.collective_save({.visit = 0, .steps_in_visit = 2, .store_running = {}},
                          Checkpoints::Reason::interval);
    first.collective_train(1);  // while it is settled, and lost
    first.settle();
  }

  DealtRun second = run();
  EXPECT_EQ(second.restored().position.visit, 0U);
  EXPECT_EQ(second.restored().position.steps_in_visit, 2U);
  second.collective_train(2);

  for (std::size_t i = 0; i < stayed.saes().size(); ++i) {
    EXPECT_TRUE(bytes_of(second.saes()[i].state) == bytes_of(stayed.saes()[i].state));
    EXPECT_EQ(second.saes()[i].log.steps, stayed.saes()[i].log.steps);
    EXPECT_EQ(second.saes()[i].log.loss, stayed.saes()[i].log.loss);
  }
}

INSTANTIATE_TEST_SUITE_P(Table, CheckpointsOfAMesh,
                         ::testing::Combine(::testing::Values("all_reduce", "sharded"),
                                            ::testing::Values(std::size_t{1}, std::size_t{2},
                                                              std::size_t{3}, std::size_t{4})),
                         [](const auto& tested) {
                           return std::get<0>(tested.param) + "_" +
                                  std::to_string(std::get<1>(tested.param)) + "_columns";
                         });

}  // namespace
}  // namespace refract
