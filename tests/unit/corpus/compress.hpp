#pragma once
// One member of each kind of compressed file.
#include <bzlib.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <vector>

namespace refract::test {

inline std::string gzip(const std::string& bytes, int level = 6) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string packed(::deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

inline std::string bzip2(const std::string& bytes) {
  std::string packed(bytes.size() + bytes.size() / 100 + 601, '\0');
  auto size = static_cast<unsigned>(packed.size());
  EXPECT_EQ(::BZ2_bzBuffToBuffCompress(packed.data(), &size, const_cast<char*>(bytes.data()),
                                       static_cast<unsigned>(bytes.size()), 9, 0, 0),
            BZ_OK);
  packed.resize(size);
  return packed;
}

inline std::string xz(const std::string& bytes) {
  std::string packed(::lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t size = 0;
  EXPECT_EQ(::lzma_easy_buffer_encode(
                6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                bytes.size(), reinterpret_cast<std::uint8_t*>(packed.data()), &size, packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

inline std::string zstd(const std::string& bytes) {
  std::string packed(::ZSTD_compressBound(bytes.size()), '\0');
  ZSTD_CCtx* context = ::ZSTD_createCCtx();
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  const std::size_t size =
      ::ZSTD_compress2(context, packed.data(), packed.size(), bytes.data(), bytes.size());
  ::ZSTD_freeCCtx(context);
  EXPECT_FALSE(::ZSTD_isError(size));
  packed.resize(size);
  return packed;
}

struct Container {
  const char* extension;
  std::string (*pack)(const std::string&);
};
inline const std::vector<Container>& containers() {
  static const std::vector<Container> all = {
      {".gz", [](const std::string& bytes) { return gzip(bytes); }},
      {".bz2", bzip2},
      {".xz", xz},
      {".zst", zstd}};
  return all;
}

}  // namespace refract::test
