#pragma once
// The self-test of `refract selftest --truth`, shrunk to a second or two.
#include "refract/stages/selftest.hpp"

namespace refract::test {

inline TruthTestConfig small_truth_test() {
  TruthTestConfig config;
  config.planted.d_in = 32;
  config.planted.features = 48;
  config.planted.roots = 24;
  config.planted.correlation_scale = 0.05;
  config.d_sae = 48;
  config.steps = 800;
  config.batch_rows = 256;
  config.heldout_rows = 2500;  // a last block that is not whole
  return config;
}

}  // namespace refract::test
