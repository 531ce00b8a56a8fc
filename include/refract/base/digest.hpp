#pragma once
// Checksums (XXH3-64, fast) and identities (SHA-256, collision-free).
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "refract/base/file_descriptor.hpp"

namespace refract {

[[nodiscard]] std::uint64_t xxh3(std::span<const std::byte> bytes);

class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(Xxh3&&) noexcept;
  Xxh3& operator=(Xxh3&&) noexcept;
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  [[nodiscard]] std::string hex();  // ends the digest; 64 characters
  [[nodiscard]] std::string hex_so_far() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string sha256_hex(std::string_view text);
// From where `file` is read next to its end. Throws SystemError. A sign of life for the watchdog,
// and tick(), for every few MiB.
[[nodiscard]] std::string sha256_of(const FileDescriptor& file,
                                    const std::function<void()>& tick = {});
[[nodiscard]] std::string sha256_of_file(const fs::path& path,
                                         const std::function<void()>& tick = {});
// Sixteen hex characters of SHA-256: the digests in folder names and parent attributes.
[[nodiscard]] std::string short_digest(std::string_view text);
[[nodiscard]] std::string hex(std::uint64_t value);  // sixteen characters

}  // namespace refract
