#include "refract/base/digest.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <vector>

#include "refract/base/activity.hpp"

namespace refract {

std::uint64_t xxh3(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

struct Xxh3::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_64bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
};
Xxh3::Xxh3() : state_(std::make_unique<State>()) {}
Xxh3::~Xxh3() = default;
Xxh3::Xxh3(Xxh3&&) noexcept = default;
Xxh3& Xxh3::operator=(Xxh3&&) noexcept = default;
void Xxh3::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}
std::uint64_t Xxh3::value() const { return XXH3_64bits_digest(state_->xxh); }

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() { EVP_DigestInit_ex(context, EVP_sha256(), nullptr); }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State& other) : State() { EVP_MD_CTX_copy_ex(context, other.context); }
};
Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
void Sha256::add(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}
void Sha256::add(std::string_view text) { add(std::as_bytes(std::span(text))); }
std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(state_->context, digest.data(), &size);
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string Sha256::hex_so_far() const {
  Sha256 copy;
  copy.state_ = std::make_unique<State>(*state_);
  return copy.hex();
}

std::string sha256_hex(std::string_view text) {
  Sha256 sha;
  sha.add(text);
  return sha.hex();
}

std::string sha256_of(const FileDescriptor& file, const std::function<void()>& tick) {
  Sha256 sha;
  std::vector<std::byte> piece(std::size_t{4} << 20);
  while (const std::size_t got = file.read_next(piece)) {
    sha.add(std::span(piece).first(got));
    refract::tick();
    if (tick) tick();
  }
  return sha.hex();
}

std::string sha256_of_file(const fs::path& path, const std::function<void()>& tick) {
  return sha256_of(FileDescriptor(path, O_RDONLY, "reading"), tick);
}

std::string short_digest(std::string_view text) { return sha256_hex(text).substr(0, 16); }
std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace refract
