#pragma once
// The file system that a folder lies on, or will: what it is, and how much may still be written.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace refract {

struct FileSystemRoom {
  std::string kind = "?";        // "ext4", "lustre", "nfs"; "?" where the system does not tell
  std::uint64_t device = 0;      // equal: the same file system
  std::uint64_t free_bytes = 0;  // for users without privileges
  // Of this user's quota, where the kernel knows one (ext4, xfs; not nfs or lustre, whose quotas
  // their own tools tell: SITE_QUOTA_COMMAND of a site file).
  std::optional<std::uint64_t> quota_left_bytes;
  [[nodiscard]] std::uint64_t writable_bytes() const;
};
// Of `path`, or its nearest parent that is there.
[[nodiscard]] FileSystemRoom room_at(const std::filesystem::path& path);

}  // namespace refract
