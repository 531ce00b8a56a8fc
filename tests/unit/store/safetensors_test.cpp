#include "refract/store/safetensors.hpp"

#include <gtest/gtest.h>

#include "refract/store/artifact.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

const std::vector<float> kWeights = {1.5f, -2.0f, 3.0f, 4.0f, 5.0f, -6.25f};
const std::vector<std::uint64_t> kAges = {1, std::uint64_t{1} << 40};

void write(const fs::path& path) {
  const std::vector<BFloat16> narrow = {to_bf16(1.0f), to_bf16(-0.5f), to_bf16(8.0f)};
  const std::vector<StoredTensor> tensors = {
      stored_tensor<BFloat16>("bias", DType::bf16, {3}, narrow),
      stored_tensor<float>("W", DType::f32, {2, 3}, kWeights),
      stored_tensor<std::uint64_t>("age", DType::u64, {2}, kAges)};
  write_safetensors(path, tensors, {{"format", "pt"}});
}

TEST(Safetensors, gives_back_values_shapes_and_metadata) {
  const ScratchFolder folder;
  write(folder / "a.safetensors");

  const SafetensorsFile file(folder / "a.safetensors");

  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(read_f32(file.at("W", {2, 3})), kWeights);
  EXPECT_EQ(read_f32(file.at("bias")), (std::vector<float>{1.0f, -0.5f, 8.0f}));
  EXPECT_EQ(read_u64(file.at("age")), kAges);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("nothing"), nullptr);
}

TEST(Safetensors, has_the_same_bytes_when_written_twice) {
  const ScratchFolder folder;

  write(folder / "a.safetensors");
  write(folder / "b.safetensors");

  EXPECT_EQ(read_file(folder / "a.safetensors"), read_file(folder / "b.safetensors"));
}

TEST(Safetensors, names_what_is_absent_or_of_another_shape) {
  const ScratchFolder folder;
  write(folder / "a.safetensors");
  const SafetensorsFile file(folder / "a.safetensors");

  expect_contains(data_error([&] { (void)file.at("W_dec"); }), "W_dec");
  expect_contains(data_error([&] { (void)file.at("W", {3, 2}); }), "W");
  EXPECT_FALSE(data_error([&] { (void)read_u64(file.at("W")); }).empty());
}

TEST(Safetensors, refuses_a_file_of_any_other_length) {
  const ScratchFolder folder;
  write(folder / "a.safetensors");
  const std::string whole = read_file(folder / "a.safetensors");

  for (const std::string& bytes :
       {whole.substr(0, 4), whole.substr(0, 40), whole.substr(0, whole.size() - 1), whole + "x"}) {
    write_file(folder / "a.safetensors", bytes);
    expect_contains(data_error([&] { SafetensorsFile file(folder / "a.safetensors"); }),
                    "a.safetensors");
  }
}

TEST(Safetensors, refuses_overlapping_tensors_and_holes) {
  const ScratchFolder folder;
  const auto refusal = [&](const std::string& header, std::size_t data_bytes) {
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    write_file(folder / "a.safetensors", bytes + header + std::string(data_bytes, '\0'));
    return data_error([&] { SafetensorsFile file(folder / "a.safetensors"); });
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

  EXPECT_EQ(refusal("{" + a + "}", 4), "");
  EXPECT_NE(refusal("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", 6), "");
  EXPECT_NE(refusal("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12),
            "");
  EXPECT_NE(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "");
}

TEST(DescribeArtifact, lists_the_tensors_of_a_safetensors_file) {
  const ScratchFolder folder;
  write(folder / "a.safetensors");

  const std::string text = describe_artifact(folder / "a.safetensors");

  for (const char* part : {"3 tensors", "W ", "BF16", "[2, 3]"}) expect_contains(text, part);
}

}  // namespace
}  // namespace refract
