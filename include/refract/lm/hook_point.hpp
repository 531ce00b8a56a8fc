#pragma once
// A named place in a model, printed as TransformerLens prints it: blocks.3.hook_resid_post.
#include <string>
#include <string_view>

namespace refract {

enum class Site { resid_pre, resid_mid, resid_post, attn_out, mlp_out };

struct HookPoint {
  int layer = 0;  // from 0
  Site site = Site::resid_post;
  friend bool operator==(const HookPoint&, const HookPoint&) = default;
};

[[nodiscard]] std::string name(HookPoint hook);
[[nodiscard]] HookPoint parse_hook_point(
    std::string_view text);  // ConfigError names the allowed forms

}  // namespace refract
