#pragma once
// A named place in a model, printed as TransformerLens prints it: blocks.3.hook_resid_post.
#include <string>
#include <string_view>

namespace refract {

// ln2_normalized is what the MLP reads, behind the norm's gain and bias. TransformerLens' point of
// that name holds the same only where the norm is folded into the MLP (fold_ln: gain and bias are
// in W_in there); else it stands before the gain.
// In the order in which a block's forward pass reaches them.
enum class Site { resid_pre, attn_out, resid_mid, ln2_normalized, mlp_out, resid_post };

struct HookPoint {
  int layer = 0;  // from 0
  Site site = Site::resid_post;
  friend bool operator==(const HookPoint&, const HookPoint&) = default;
};

[[nodiscard]] std::string name(HookPoint hook);
// Whether a forward pass reaches `hook` before `other`.
[[nodiscard]] bool comes_before(HookPoint hook, HookPoint other);
[[nodiscard]] HookPoint parse_hook_point(
    std::string_view text);  // ConfigError names the allowed forms

// Whether a spelling depends on how many layers the model has: "last", a layer counted from the end
// (blocks.-1.hook_resid_post), or one by its depth (blocks.50%.hook_resid_post).
[[nodiscard]] bool is_relative_hook_point(std::string_view text);
// The name of what such a spelling means in a model of `layers`: "last" is the last layer's
// hook_resid_post, -1 the last layer, s% layer floor(layers s / 100), the last for 100%. Any other
// text is returned as it is. ConfigError for a layer that the model has not.
[[nodiscard]] std::string resolve_hook_point(std::string_view text, std::size_t layers);

}  // namespace refract
