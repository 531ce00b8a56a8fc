#pragma once
// The byte alphabet of byte-level BPE: each byte has a printable stand-in, so that a vocabulary is
// text. Bytes 33-126, 161-172 and 174-255 stand for themselves, the other 68 are U+0100 + n in
// order (GPT-2, encoder.py).
#include <optional>
#include <string>
#include <string_view>

namespace refract {

// How a vocabulary spells a text: by its characters, or by the stand-ins of its bytes.
enum class Spelling { characters, bytes };

// The bytes that a vocabulary entry stands for; nothing when it holds a character outside the
// alphabet.
[[nodiscard]] std::optional<std::string> bytes_of_entry(std::string_view entry);
// Its inverse: any bytes have an entry's spelling.
[[nodiscard]] std::string entry_of_bytes(std::string_view bytes);

}  // namespace refract
