#include "refract/tokenizer/tokenizer.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

using nlohmann::json;

json demo_file() {
  static const json file =
      json::parse(read_file(fs::path(REFRACT_SOURCE_DIR) / "configs/demo/model/tokenizer.json"));
  return file;
}

std::unique_ptr<Tokenizer> from_json(const json& file) {
  const fs::path path = fs::path(testing::TempDir()) / "refract_tokenizer_test" / "tokenizer.json";
  fs::create_directories(path.parent_path());
  std::ofstream(path) << file.dump();
  return load_tokenizer(path.parent_path());
}

// A golden case: the demo's file with a merge patch; "merges" selects the demo's by index, -1 - i
// as a pair.
json patched(json patch) {
  json file = demo_file();
  if (patch.contains("merges")) {
    const json all = file["model"]["merges"];
    json merges = json::array();
    for (const int i : patch["merges"].get<std::vector<int>>()) {
      const std::string merge = all[static_cast<std::size_t>(i < 0 ? -1 - i : i)];
      const auto blank = merge.find(' ');
      merges.push_back(i < 0 ? json{merge.substr(0, blank), merge.substr(blank + 1)} : json(merge));
    }
    file["model"]["merges"] = merges;
    patch.erase("merges");
  }
  file.merge_patch(patch);
  return file;
}

std::string refusal(const json& file) {
  try {
    from_json(file);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Tokenizer, gives_the_ids_of_hugging_face_for_tricky_texts_under_every_setting) {
  const json golden =
      json::parse(read_file(fs::path(REFRACT_SOURCE_DIR) / "tests/data/tokenizer_golden.json"));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 150u);
  for (const json& one : golden["cases"]) {
    const auto tokenizer = from_json(patched(one["patch"]));
    for (const int round : {1, 2})  // the second time the word cache answers
      for (std::size_t i = 0; i < texts.size(); ++i)
        EXPECT_EQ(tokenizer->encode_ids(texts[i]), one["ids"][i].get<std::vector<std::uint32_t>>())
            << one["name"] << ", text " << i << ", round " << round << ": " << texts[i];
  }
}

TEST(Tokenizer, spans_are_contiguous_and_hold_the_bytes_of_their_token) {
  const json golden =
      json::parse(read_file(fs::path(REFRACT_SOURCE_DIR) / "tests/data/tokenizer_golden.json"));
  const auto tokenizer = from_json(demo_file());
  for (const auto& text : golden["texts"].get<std::vector<std::string>>()) {
    std::vector<TokenSpan> spans;
    tokenizer->encode(text, spans);
    std::uint32_t at = 0;
    for (const TokenSpan& span : spans) {
      EXPECT_EQ(span.begin, at);
      EXPECT_EQ(text.substr(span.begin, span.end - span.begin), tokenizer->decode_bytes(span.id));
      at = span.end;
    }
    EXPECT_EQ(at, text.size());
  }
}

TEST(Tokenizer, a_prepended_space_is_in_no_span) {
  json file = demo_file();
  file["pre_tokenizer"]["add_prefix_space"] = true;
  const auto tokenizer = from_json(file);
  std::vector<TokenSpan> spans;
  tokenizer->encode("the<|endoftext|>the", spans);
  const std::uint32_t the = *tokenizer->id_of("Ġthe");
  EXPECT_EQ(spans, (std::vector<TokenSpan>{{the, 0, 3}, {8191, 3, 16}, {the, 16, 19}}));
}

TEST(Tokenizer, appends_to_what_is_there) {
  const auto tokenizer = from_json(demo_file());
  std::vector<TokenSpan> spans = {{7, 1, 2}};
  tokenizer->encode("<|endoftext|>", spans);
  EXPECT_EQ(spans, (std::vector<TokenSpan>{{7, 1, 2}, {8191, 0, 13}}));
}

TEST(Tokenizer, knows_its_vocabulary) {
  const auto tokenizer = from_json(demo_file());
  EXPECT_EQ(tokenizer->size(), 8192u);
  EXPECT_EQ(tokenizer->id_of("<|endoftext|>"), 8191u);
  EXPECT_EQ(tokenizer->id_of("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(8191));
  EXPECT_FALSE(tokenizer->is_special(100));
  EXPECT_EQ(tokenizer->decode_bytes(*tokenizer->id_of("Ġthe")), " the");
  EXPECT_THROW((void)tokenizer->decode_bytes(8192), DataError);
  EXPECT_EQ(tokenizer->digest().size(), 16u);
}

TEST(Tokenizer, decodes_what_it_encoded) {
  const auto tokenizer = from_json(demo_file());
  const std::string text = "Größe 你好\n\nit's 12 👍🏽<|endoftext|> end ";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode_ids(text)), text);
}

TEST(Tokenizer, gives_the_same_ids_from_many_threads) {
  const auto tokenizer = from_json(demo_file());
  const auto text_of = [](std::size_t i) {
    return "document " + std::to_string(i * 7919) + " is about the number " +
           std::to_string(i % 13) + "'s squares";
  };
  std::vector<std::vector<std::uint32_t>> ids(400);
  parallel_for(ids.size(), [&](std::size_t i) { ids[i] = tokenizer->encode_ids(text_of(i)); });
  const auto fresh = from_json(demo_file());
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], fresh->encode_ids(text_of(i)));
}

TEST(Tokenizer, a_megabyte_in_one_word_does_not_take_quadratic_time) {
  const auto tokenizer = from_json(demo_file());
  const std::string word(1 << 20, 'a');
  EXPECT_EQ(tokenizer->decode(tokenizer->encode_ids(word)), word);
}

TEST(Tokenizer, refuses_by_name_what_it_does_not_have) {
  const auto says = [](json patch, const std::string& words) {
    json file = demo_file();
    file.merge_patch(patch);
    EXPECT_NE(refusal(file).find(words), std::string::npos) << refusal(file);
  };
  says({{"normalizer", {{"type", "Lowercase"}}}},
       "normalizer.type is 'Lowercase', known: Sequence, NFC, Prepend, Replace");
  says({{"pre_tokenizer", {{"type", "Whitespace"}}}},
       "pre_tokenizer.type is 'Whitespace', known: Sequence, ByteLevel, Digits");
  says({{"model", {{"type", "Unigram"}}}}, "model.type is 'Unigram', known: BPE");
  says({{"model", {{"end_of_word_suffix", "</w>"}}}}, "model.end_of_word_suffix is '</w>'");
  says({{"model", {{"dropout", 0.1}}}}, "model.dropout is 0.1");
  says({{"model", {{"unk_token", 3}}}}, "model.unk_token is 3, expected a text");
  says({{"model", {{"vocab", {{"Ġthe", -1}}}}}}, "model.vocab.Ġthe is -1, expected a whole number");
  says({{"brand_new", true}}, "'brand_new' is unknown, known: version");

  json file = demo_file();
  file["added_tokens"][0]["id"] = 9000;
  EXPECT_NE(refusal(file).find("9000"), std::string::npos) << refusal(file);
  file = demo_file();
  file["added_tokens"][0]["lstrip"] = nullptr;
  EXPECT_NE(refusal(file).find("added_tokens.0.lstrip is null, expected true or false"),
            std::string::npos)
      << refusal(file);
}

TEST(Tokenizer, names_the_file_that_is_absent_or_damaged) {
  try {
    (void)load_tokenizer(fs::path(testing::TempDir()) / "no_such_folder");
    FAIL() << "an absent tokenizer was loaded";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("no_such_folder"), std::string::npos);
  }
  json file = demo_file();
  file["model"].erase("merges");
  EXPECT_NE(refusal(file).find("tokenizer.json: model.merges is missing"), std::string::npos)
      << refusal(file);
}

// The demo's tokenizer as the older pair of files.
fs::path folder_of_pair(const char* vocabulary, const char* merges) {
  const fs::path folder = fs::path(testing::TempDir()) / "refract_tokenizer_pair";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const json file = demo_file();
  std::ofstream(folder / vocabulary) << file["model"]["vocab"].dump();
  std::ofstream lines(folder / merges);
  lines << "#version: 0.2\r\n";
  for (const auto& merge : file["model"]["merges"]) lines << merge.get<std::string>() << "\n";
  return folder;
}

TEST(Tokenizer, reads_the_older_pair_of_files_under_both_names) {
  const auto one_file = from_json(demo_file());
  const std::string text = "it's 12 Größe\n\n <|endoftext|> end  ";
  for (const auto& [vocabulary, merges] :
       {std::pair("vocab.json", "merges.txt"), std::pair("encoder.json", "vocab.bpe")}) {
    const auto pair = load_tokenizer(folder_of_pair(vocabulary, merges));
    EXPECT_EQ(pair->encode_ids(text), one_file->encode_ids(text));
    EXPECT_TRUE(pair->is_special(8191));
    EXPECT_EQ(pair->decode(pair->encode_ids(text)), text);
  }
}

TEST(Tokenizer, of_a_pair_follows_its_configuration) {
  const fs::path folder = folder_of_pair("vocab.json", "merges.txt");
  const auto plain = load_tokenizer(folder);
  json config = {{"tokenizer_class", "GPT2TokenizerFast"}, {"add_prefix_space", true}};
  config["added_tokens_decoder"]["8192"] = {{"content", "<extra>"}, {"lstrip", false},
                                            {"normalized", false},  {"rstrip", true},
                                            {"single_word", false}, {"special", false}};
  std::ofstream(folder / "tokenizer_config.json") << config.dump();
  const auto configured = load_tokenizer(folder);
  EXPECT_EQ(configured->encode_ids("the<extra>  the"),
            (std::vector<std::uint32_t>{*plain->id_of("Ġthe"), 8192, *plain->id_of("Ġthe")}));
  EXPECT_NE(configured->digest(), plain->digest());

  config["tokenizer_class"] = "Qwen2Tokenizer";
  config["add_prefix_space"] = false;
  std::ofstream(folder / "tokenizer_config.json") << config.dump();
  const auto qwen = load_tokenizer(folder);
  EXPECT_EQ(qwen->encode_ids("cafe\u0301"), plain->encode_ids("caf\u00e9"));
  EXPECT_EQ(qwen->encode_ids("12").size(), 2u);  // each digit is a word

  config["tokenizer_class"] = "LlamaTokenizer";
  std::ofstream(folder / "tokenizer_config.json") << config.dump();
  try {
    (void)load_tokenizer(folder);
    FAIL() << "a class without a known pipeline was loaded";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("'LlamaTokenizer'; without a tokenizer.json only "
                        "GPT2Tokenizer, Qwen2Tokenizer are known"),
              std::string::npos)
        << error.what();
  }
}

TEST(Tokenizer, leaves_out_added_tokens_that_the_model_has_no_row_for) {
  json file = demo_file();
  json image = file["added_tokens"][0];
  image["id"] = 8192;
  image["content"] = "<image>";
  file["added_tokens"].push_back(image);
  const auto all = from_json(file);
  EXPECT_EQ(all->encode_ids("<image>"), (std::vector<std::uint32_t>{8192}));
  EXPECT_EQ(all->size(), 8193u);

  const fs::path path = fs::path(testing::TempDir()) / "refract_tokenizer_test" / "tokenizer.json";
  const auto some = load_tokenizer(path, 8192);
  EXPECT_EQ(some->encode_ids("<image>"), from_json(demo_file())->encode_ids("<image>"));
  EXPECT_EQ(some->size(), 8192u);
  EXPECT_NE(some->digest(), all->digest());
}

// A word that is looked up whole while shorter ones in front of it wait.
TEST(Tokenizer, keeps_the_order_of_short_and_long_words) {
  json file = demo_file();
  file["model"]["ignore_merges"] = true;
  const auto tokenizer = from_json(file);
  const std::string run(40, '=');
  std::vector<std::uint32_t> expected;
  for (const std::string& word : {std::string("the"), run, std::string(" the"), run})
    for (const std::uint32_t id : tokenizer->encode_ids(word)) expected.push_back(id);
  EXPECT_EQ(tokenizer->encode_ids("the" + run + " the" + run), expected);
}

TEST(Tokenizer, refuses_text_that_is_not_utf8) {
  const auto tokenizer = from_json(demo_file());
  EXPECT_THROW((void)tokenizer->encode_ids("a\xC3("), DataError);
}

}  // namespace
}  // namespace refract
