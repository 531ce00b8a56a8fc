#include "tokenizer/origin.hpp"

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {

std::uint32_t Origin::place(std::uint32_t offset) const {
  return rewriting == nullptr ? begin + offset : rewriting->place(begin + offset);
}

void Rewriting::start(Origin source) {
  text_.clear();
  edits_.clear();
  source_ = source;
  done_ = 0;
  last_ = 0;
}

void Rewriting::release() {
  start({});
  text_.shrink_to_fit();
  edits_.shrink_to_fit();
}

void Rewriting::append(std::string_view bytes) {
  constexpr std::size_t kBytes = std::size_t{1} << 31;  // ICU counts in int32
  if (text_.size() + bytes.size() >= kBytes)
    throw DataError("a text to tokenize grows beyond 2 GiB where it is normalized; split it");
  text_.append(bytes);
}

void Rewriting::keep(std::string_view bytes) {
  append(bytes);
  done_ += static_cast<std::uint32_t>(bytes.size());
}

void Rewriting::replace(std::uint32_t source_bytes, std::string_view by) {
  const auto begin = static_cast<std::uint32_t>(text_.size());
  append(by);
  edits_.push_back({begin, static_cast<std::uint32_t>(text_.size()), done_, done_ + source_bytes});
  done_ += source_bytes;
}

std::uint32_t Rewriting::place(std::uint32_t boundary) const {
  const auto begins_after = [&](std::size_t i) {
    return i >= edits_.size() || edits_[i].begin > boundary;
  };
  if (begins_after(last_) || !begins_after(last_ + 2)) {
    const auto after =
        std::upper_bound(edits_.begin(), edits_.end(), boundary,
                         [](std::uint32_t value, const Edit& edit) { return value < edit.begin; });
    if (after == edits_.begin()) return source_.place(boundary);
    last_ = static_cast<std::size_t>(after - edits_.begin()) - 1;
  } else if (!begins_after(last_ + 1)) {
    ++last_;
  }
  const Edit& edit = edits_[last_];
  if (boundary == edit.begin && edit.begin != edit.end) return source_.place(edit.from_begin);
  return source_.place(edit.from_end + (boundary > edit.end ? boundary - edit.end : 0));
}

}  // namespace refract
