#pragma once
// What cfg.json's "metadata" says of an SAE: what its correct use needs, in SAELens' words, and
// where those cannot say it, in refract's own (refract_*).
#include <map>
#include <string>

#include "refract/pipeline/checkpoints.hpp"

namespace refract {

// Keys -> JSON text. weights_digest of `sae` is known; exported: what is written of it.
// metrics_line: the visit's of metrics.jsonl, from which l0 and num_dead_features are; empty: they
// are not known.
[[nodiscard]] std::map<std::string, std::string> export_metadata(const CheckpointedRun& run,
                                                                 const TrainedSae& sae,
                                                                 const SaeExport& exported,
                                                                 const std::string& metrics_line);
// source.from as the data set's name, without the folders and the revision that do not identify it.
[[nodiscard]] std::string dataset_name(const std::string& from);

}  // namespace refract
