#pragma once
// features/<name>.h5: what is known of every feature of one SAE. Enough alone for the report and
// the terminal: examples carry their text. Deterministic bytes: no time, host, path or rank count.
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "refract/analysis/top_examples.hpp"
#include "refract/store/table_file.hpp"

namespace refract {

// One strong row with the text around it. The window is tokens of one document; activations of the
// same feature stand beside each token where its row was read (rows elsewhere in the corpus are
// unknown, not zero).
struct FeatureExample {
  TextRow row;
  float activation = 0;
  std::string title, url;                 // of the document
  std::string text;                       // the window's bytes of the cleaned text, valid UTF-8
  std::uint32_t center = 0;               // index of the firing token in the window
  std::vector<std::uint32_t> token_ends;  // [W] end of each token in `text`, bytes
  std::vector<float> activations;         // [W] NaN = row not read
};

struct FeatureKeyword {
  std::string word;
  float log_odds = 0;
};

struct FeatureNeighbour {
  std::uint32_t feature = 0;
  float cosine = 0;  // of decoder rows
};

struct FeatureFacts {
  float density = 0;          // share of included training rows read on which it fires
  float density_heldout = 0;  // the same on held-out rows
  float max_activation = 0;   // over the training rows read; 0 = never fired there
  float auroc = std::numeric_limits<float>::quiet_NaN();  // NaN = not scored
  float token_share = 0;                                  // share of the most frequent firing token
  std::uint32_t firing_windows = 0, firing_documents = 0;  // held out, as measured
  bool scored = false, readable = false, single_token = false;
  std::string frequent_token;  // its text
  std::vector<FeatureKeyword> keywords;
  std::vector<FeatureExample> examples;      // strongest first
  std::vector<FeatureNeighbour> neighbours;  // nearest first
  [[nodiscard]] bool alive() const { return max_activation > 0; }
};

// How many features of a dictionary can be read: the SAE's own, or a control's.
struct ReadableCount {
  std::string name;  // "sae", "frozen random", "neurons"
  std::uint64_t features = 0, alive = 0, scored = 0;
  std::uint64_t readable = 0;
  std::uint64_t predictable = 0;   // auroc >= 0.85, single-token features included
  std::uint64_t single_token = 0;  // among the scored
};

struct FeatureAtlas {
  std::string name, hook;  // SAE and hook point
  std::uint64_t training_rows = 0, training_documents = 0, heldout_rows = 0, heldout_documents = 0;
  ReadableCount count;
  std::vector<ReadableCount> controls;
  std::vector<FeatureFacts> features;  // [F]
};

// The file as it will be, in memory: stop points while it is built (base/stop.hpp). Parents:
// "weights", the digest of the fp32 master weights the features were computed with, and "store"
// (SPEC 5). It keeps nothing of `atlas`.
[[nodiscard]] TableWriter features_table(const std::filesystem::path& path,
                                         const FeatureAtlas& atlas, const Parents& parents);
// Writes it whole; its content digest.
std::string write_features(TableWriter table);

// DataError when it is not there, of another schema or version; Damaged, with what to do, when its
// content is not what was written: all of it is checked against the recorded digest first.
[[nodiscard]] FeatureAtlas read_features(const std::filesystem::path& path);
struct FeaturesOrigin {
  std::string content_digest;
  Parents parents;
};
[[nodiscard]] Parents features_parents(const std::filesystem::path& path);  // content unchecked
// As read_features, for who needs only to know that it is whole.
[[nodiscard]] FeaturesOrigin verify_features(const std::filesystem::path& path);

}  // namespace refract
