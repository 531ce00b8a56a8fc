#pragma once
// The activation store of one run: calibration and held-out rows, made once by the ranks that
// extract and then read by all, and the chunks.
#include <cstdint>
#include <string>
#include <vector>

#include "refract/pipeline/run_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

class RunStore {
 public:
  RunStore(Run& run, RunCorpus& corpus) : run_(run), corpus_(corpus) {}

  // Calibration and held-out rows; the first window is admitted. What is there is verified, and
  // made again where it is damaged. true when anything was made. StopRequested on every rank or on
  // none.
  bool collective_prepare(Communicator& ranks);
  void open();  // reads the calibration; it exists
  [[nodiscard]] bool is_open() const { return !digest_.empty(); }

  [[nodiscard]] const std::string& digest() const { return digest_; }
  [[nodiscard]] const CalibrationData& calibration() const { return calibration_.data; }
  [[nodiscard]] const std::string& calibration_digest() const {
    return calibration_.content_digest;
  }
  [[nodiscard]] std::vector<double> sink_thresholds() const;  // of the hooks
  [[nodiscard]] Parents parents() const { return {{"store", digest_}}; }
  [[nodiscard]] ChunkSpec chunk_spec(const ChunkShape& shape) const;
  [[nodiscard]] ChunkReader open_heldout() const;
  // Damaged when it is not the chunk with this digest (as the ledger has it).
  [[nodiscard]] ChunkReader open_chunk(std::uint64_t chunk, const std::string& digest) const;

 private:
  [[nodiscard]] std::string settings_text() const;
  [[nodiscard]] Parents calibration_parents() const;
  void say_what_is_made_again(const DataError& error) const;
  bool collective_calibrate(Communicator& ranks);
  [[nodiscard]] bool collective_heldout_is_whole(Communicator& ranks) const;
  void collective_write_heldout(Communicator& ranks);

  Run& run_;
  RunCorpus& corpus_;
  std::string digest_;
  Calibration calibration_;
};

}  // namespace refract
