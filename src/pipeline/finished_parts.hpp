#pragma once
// The parts of the end of a run, each finished by itself: its ledger line says what it was made
// from and what was made, so that it is made again when either is another, and only then.
#include <filesystem>
#include <functional>
#include <string>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"

namespace refract {

struct Part {
  std::string key;  // in the ledger: "evaluate/big"
  std::filesystem::path file;
  std::function<std::string()> content;  // digest of the file as it is now; Damaged where it shows
};

[[nodiscard]] Part evaluated_part(const RunFolder& folder, const std::string& sae);
[[nodiscard]] Part statistics_part(const RunFolder& folder, const std::string& hook);
[[nodiscard]] Part probed_part(const RunFolder& folder, const std::string& sae);
[[nodiscard]] Part reported_part(const RunConfig& config, const RunFolder& folder);

[[nodiscard]] std::string inputs_digest(const std::string& inputs);
// Whether the file is there, made from these inputs and still what was made; warns when it was and
// is not any more.
[[nodiscard]] bool is_finished(const RunState& state, const Part& part, const std::string& inputs);
// The ledger's line, once the file is written.
void finish(Ledger& ledger, const Part& part, const std::string& inputs,
            const std::string& content);

}  // namespace refract
