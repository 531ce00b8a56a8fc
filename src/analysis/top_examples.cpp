#include "refract/analysis/top_examples.hpp"

#include <algorithm>

namespace refract {

bool stronger(const Example& a, const Example& b) {
  if (a.activation != b.activation) return a.activation > b.activation;
  if (a.row.context != b.row.context) return a.row.context < b.row.context;
  return a.row.position < b.row.position;
}

void TopExamples::find_weakest() {
  weakest_ = 0;
  for (std::size_t i = 1; i < kept_.size(); ++i)
    if (stronger(kept_[weakest_], kept_[i])) weakest_ = i;
}

// Whatever is dropped here is weaker than `limit` kept examples, or than `per_document` of its own
// document; both only get stronger, so it could never come back. Hence the result does not depend
// on the order.
void TopExamples::add(const Example& example) {
  const bool full = kept_.size() >= limit_;
  if (limit_ == 0 || per_document_ == 0 || (full && !stronger(example, kept_[weakest_]))) return;
  std::size_t of_document = 0, weakest_of_document = 0;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (kept_[i].row.document != example.row.document) continue;
    if (of_document++ == 0 || stronger(kept_[weakest_of_document], kept_[i]))
      weakest_of_document = i;
  }
  if (of_document >= per_document_) {
    if (!stronger(example, kept_[weakest_of_document])) return;
    kept_[weakest_of_document] = example;
  } else if (full) {
    kept_[weakest_] = example;
  } else {
    kept_.push_back(example);
  }
  if (kept_.size() >= limit_) find_weakest();
}

std::vector<Example> TopExamples::sorted() const {
  std::vector<Example> examples = kept_;
  std::sort(examples.begin(), examples.end(), stronger);
  return examples;
}

}  // namespace refract
