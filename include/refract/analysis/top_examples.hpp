#pragma once
// The rows a feature fires on most strongly, few from each document.
#include <cstdint>
#include <vector>

namespace refract {

// One row of activations and its place in the text (identities: SPEC section 4).
struct TextRow {
  std::uint64_t context = 0;            // shard ordinal << 32 | context
  std::uint64_t document = 0;           // shard ordinal << 32 | document
  std::uint32_t position = 0;           // slot in the context
  std::uint32_t document_position = 0;  // token of the document
  std::uint32_t token = 0;              // token id
};

struct Example {
  TextRow row;
  float activation = 0;
};

// Stronger first; equal activations in row order (context, position). A total order over distinct
// rows.
[[nodiscard]] bool stronger(const Example& a, const Example& b);

// Keeps the `limit` strongest examples with at most `per_document` of one document: exactly those a
// sort of everything seen would select, whatever the order of arrival.
class TopExamples {
 public:
  TopExamples(std::size_t limit, std::size_t per_document)
      : limit_(limit), per_document_(per_document) {}
  void add(const Example& example);
  [[nodiscard]] std::vector<Example> sorted() const;  // strongest first
  [[nodiscard]] std::size_t size() const { return kept_.size(); }

 private:
  void find_weakest();
  std::size_t limit_, per_document_;
  std::vector<Example> kept_;
  std::size_t weakest_ = 0;  // index into kept_, valid when it is full
};

}  // namespace refract
