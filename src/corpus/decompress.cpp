#include "corpus/decompress.hpp"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "refract/base/error.hpp"
#include "refract/base/file_descriptor.hpp"

namespace refract {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

// The file's bytes, of which some are read ahead.
class Input {
 public:
  explicit Input(const fs::path& file) : file_(FileDescriptor::of_input(file)) {}

  // At least `wanted` bytes, fewer only at the end of the file.
  [[nodiscard]] std::string_view ahead(std::size_t wanted = 1) {
    while (buffer_.size() - at_ < wanted && !ended_) read_more();
    return std::string_view(buffer_).substr(at_);
  }
  void take(std::size_t bytes) { at_ += bytes; }

 private:
  void read_more() {
    buffer_.erase(0, std::exchange(at_, 0));
    const std::size_t before = buffer_.size();
    buffer_.resize(before + kPieceBytes);
    const std::size_t got =
        file_.read_next(std::as_writable_bytes(std::span(buffer_)).subspan(before));
    buffer_.resize(before + got);
    ended_ = got == 0;
  }

  FileDescriptor file_;
  std::string buffer_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

struct Step {
  std::size_t taken = 0, given = 0;
  bool member_ended = false;
  std::string fault;
};

// Decompresses one member after another.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void begin_member() = 0;
  [[nodiscard]] virtual Step step(std::string_view from, std::string& to) = 0;
};

[[noreturn]] void cannot_start(const char* library) {
  throw SystemError("{} cannot start: not enough memory", library);
}

class Gzip : public Decoder {
 public:
  Gzip() {
    constexpr int kGzipHeader = 16;
    if (::inflateInit2(&stream_, MAX_WBITS + kGzipHeader) != Z_OK) cannot_start("zlib");
  }
  ~Gzip() override { ::inflateEnd(&stream_); }
  void begin_member() override { ::inflateReset(&stream_); }
  Step step(std::string_view from, std::string& to) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(from.data()));
    stream_.avail_in = static_cast<uInt>(from.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = static_cast<uInt>(to.size());
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    Step step{from.size() - stream_.avail_in, to.size() - stream_.avail_out, code == Z_STREAM_END,
              ""};
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
      step.fault = stream_.msg ? stream_.msg : "it cannot be decompressed";
    return step;
  }

 private:
  z_stream stream_{};
};

class Bzip2 : public Decoder {
 public:
  Bzip2() { begin(); }
  ~Bzip2() override { ::BZ2_bzDecompressEnd(&stream_); }
  void begin_member() override {
    ::BZ2_bzDecompressEnd(&stream_);
    begin();
  }
  Step step(std::string_view from, std::string& to) override {
    stream_.next_in = const_cast<char*>(from.data());
    stream_.avail_in = static_cast<unsigned>(from.size());
    stream_.next_out = to.data();
    stream_.avail_out = static_cast<unsigned>(to.size());
    const int code = ::BZ2_bzDecompress(&stream_);
    Step step{from.size() - stream_.avail_in, to.size() - stream_.avail_out, code == BZ_STREAM_END,
              ""};
    if (code == BZ_MEM_ERROR) cannot_start("bzip2");
    if (code == BZ_DATA_ERROR) step.fault = "wrong checksum or damaged block";
    if (code == BZ_DATA_ERROR_MAGIC) step.fault = "no bzip2 stream begins here";
    if (code < 0 && step.fault.empty()) step.fault = "it cannot be decompressed";
    return step;
  }

 private:
  void begin() {
    stream_ = {};
    if (::BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) cannot_start("bzip2");
  }
  bz_stream stream_{};
};

class Xz : public Decoder {
 public:
  Xz() { begin_member(); }
  ~Xz() override { ::lzma_end(&stream_); }
  void begin_member() override {
    constexpr std::uint64_t kNoLimit = UINT64_MAX;
    if (::lzma_stream_decoder(&stream_, kNoLimit, LZMA_TELL_UNSUPPORTED_CHECK) != LZMA_OK)
      cannot_start("liblzma");
  }
  Step step(std::string_view from, std::string& to) override {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(from.data());
    stream_.avail_in = from.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(to.data());
    stream_.avail_out = to.size();
    const lzma_ret code = ::lzma_code(&stream_, LZMA_RUN);
    Step step{from.size() - stream_.avail_in, to.size() - stream_.avail_out,
              code == LZMA_STREAM_END, ""};
    if (code == LZMA_MEM_ERROR) cannot_start("liblzma");
    if (code == LZMA_UNSUPPORTED_CHECK)
      step.fault = "its check is of a kind that this liblzma cannot compute";
    else if (code == LZMA_FORMAT_ERROR)
      step.fault = "no xz stream begins here";
    else if (code != LZMA_OK && code != LZMA_STREAM_END && code != LZMA_BUF_ERROR)
      step.fault = "wrong check or damaged block";
    return step;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Zstd : public Decoder {
 public:
  Zstd() : stream_(::ZSTD_createDStream()) {
    if (!stream_) cannot_start("zstd");
    // As large as `zstd --long` writes them: the default refuses windows above 128 MiB.
    ::ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax,
                             ::ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  void begin_member() override { ::ZSTD_DCtx_reset(stream_.get(), ZSTD_reset_session_only); }
  Step step(std::string_view from, std::string& to) override {
    ZSTD_inBuffer in{from.data(), from.size(), 0};
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    const std::size_t left = ::ZSTD_decompressStream(stream_.get(), &out, &in);
    if (::ZSTD_isError(left)) return {in.pos, out.pos, false, ::ZSTD_getErrorName(left)};
    return {in.pos, out.pos, left == 0, ""};
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ::ZSTD_freeDStream(stream); }
  };
  std::unique_ptr<ZSTD_DStream, Free> stream_;
};

template <typename T>
std::unique_ptr<Decoder> made() {
  return std::make_unique<T>();
}

struct Compression {
  std::string_view extension, magic;
  std::unique_ptr<Decoder> (*decoder)();
};
constexpr std::string_view kSkippableZstd("\x2A\x4D\x18", 3);  // behind a byte 0x50 to 0x5F
constexpr Compression kCompressions[] = {
    {".gz", {"\x1F\x8B", 2}, made<Gzip>},
    {".bz2", {"BZh", 3}, made<Bzip2>},
    {".xz",
     {"\xFD"
      "7zXZ\0",
      6},
     made<Xz>},
    {".zst", {"\x28\xB5\x2F\xFD", 4}, made<Zstd>},
};

bool begins_as(std::string_view bytes, const Compression& compression) {
  if (bytes.starts_with(compression.magic)) return true;
  return compression.extension == ".zst" && bytes.size() >= 4 && (bytes[0] & 0xF0) == 0x50 &&
         bytes.substr(1).starts_with(kSkippableZstd);
}

// Null for plain text; `fault` when the extension promises what does not begin here.
const Compression* compression_of(const fs::path& file, std::string_view head, std::string& fault) {
  const Compression* found = nullptr;
  for (const Compression& row : kCompressions)
    if (begins_as(head, row)) found = &row;
  for (const Compression& row : kCompressions)
    if (file.extension() == row.extension && found != &row)
      fault = fmt::format("it does not begin as a {} file does", row.extension);
  return found;
}

// Zero bytes may stand between members and at the end, as block copies leave them.
void skip_zeros(Input& input) {
  for (std::string_view rest = input.ahead(); !rest.empty(); rest = input.ahead()) {
    const std::size_t zeros = std::min(rest.find_first_not_of('\0'), rest.size());
    input.take(zeros);
    if (zeros < rest.size()) return;
  }
}

std::string decompress_members(Input& input, const Compression& compression,
                               const std::function<void(std::string_view)>& piece) {
  const std::unique_ptr<Decoder> decoder = compression.decoder();
  std::string buffer(kPieceBytes, '\0');
  for (int member = 1;; ++member) {
    const auto in_member = [member](std::string text) {
      return member == 1 ? text : fmt::format("{} (member {} of the file)", text, member);
    };
    while (true) {
      const std::string_view from = input.ahead();
      const Step step = decoder->step(from, buffer);
      input.take(step.taken);
      if (step.given > 0) piece(std::string_view(buffer).substr(0, step.given));
      if (!step.fault.empty()) return in_member(step.fault);
      if (step.member_ended) break;
      if (from.empty() && step.given == 0) return in_member("it ends too early");
    }
    skip_zeros(input);
    if (input.ahead().empty()) return "";
    const std::string_view next = input.ahead(compression.magic.size());
    if (!begins_as(next, compression)) {
      const bool cut =
          next.size() < compression.magic.size() && compression.magic.starts_with(next);
      return cut ? fmt::format("it ends within the head of member {}", member + 1)
                 : fmt::format("what follows member {} is no {} data", member,
                               compression.extension.substr(1));
    }
    decoder->begin_member();
  }
}

}  // namespace

std::string decompress(const fs::path& file, const std::function<void(std::string_view)>& piece) {
  Input input(file);
  constexpr std::size_t kLongestMagic = 6;
  std::string fault;
  const Compression* compression = compression_of(file, input.ahead(kLongestMagic), fault);
  if (!fault.empty()) return fault;
  if (compression) return decompress_members(input, *compression, piece);
  for (std::string_view bytes = input.ahead(); !bytes.empty(); bytes = input.ahead()) {
    piece(bytes);
    input.take(bytes.size());
  }
  return "";
}

}  // namespace refract
