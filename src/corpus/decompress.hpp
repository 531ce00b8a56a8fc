#pragma once
// The bytes of a shard, plain or compressed, piece by piece. Compressed files are a sequence of
// members (gzip's word; streams of bzip2 and xz, frames of zstd), each checked by what it carries:
// CRC-32 and length (gz), CRC-32 (bz2), the check of the stream (xz), the content checksum where
// the frame has one (zst). Nothing may stand between and behind members but zero bytes.
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace refract {

// Calls `piece` for the decompressed bytes in order, at most a few MiB at a time. The first bytes
// decide how the file is compressed; where its extension (.gz .bz2 .xz .zst) says otherwise, that
// is an error. Returns what is wrong with the file, empty when it is whole; pieces that came before
// the fault were handed out. DataError when it cannot be read.
[[nodiscard]] std::string decompress(const std::filesystem::path& file,
                                     const std::function<void(std::string_view)>& piece);

}  // namespace refract
