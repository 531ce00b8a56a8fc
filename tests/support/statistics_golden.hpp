#pragma once
// tests/data/statistics_golden.json: rows, and what numpy, scipy and IsoScore find in them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract::test {

struct Golden {
  nlohmann::json json;
  Tensor<float> x;  // [50, 6]
};

inline Golden statistics_golden() {
  Golden golden;
  golden.json = nlohmann::json::parse(
      std::ifstream(std::string(REFRACT_SOURCE_DIR) + "/tests/data/statistics_golden.json"));
  const nlohmann::json& rows = golden.json["x"];
  golden.x = Tensor<float>(Shape{rows.size(), rows[0].size()});
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < rows[i].size(); ++j) golden.x.row(i)[j] = rows[i][j];
  return golden;
}

inline void expect_all_near(std::span<const double> found, const nlohmann::json& expected,
                            double relative) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double value = expected[i];
    EXPECT_NEAR(found[i], value, relative * std::abs(value)) << "number " << i;
  }
}

}  // namespace refract::test
