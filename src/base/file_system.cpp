#include "refract/base/file_system.hpp"

#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace refract {
namespace {

namespace fs = std::filesystem;

struct Mount {
  std::string kind = "?", source;
};

// By the device's number. Of /proc/self/mountinfo: "36 35 98:0 /root /mnt options - kind source
// ..."
Mount mount_of(dev_t device) {
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id, parent, of_line, word;
    words >> id >> parent >> of_line;
    if (of_line != number) continue;
    while (words >> word && word != "-") {
    }
    Mount mount;
    words >> mount.kind >> mount.source;
    return mount;
  }
  return {};
}

std::optional<std::uint64_t> quota_left(const Mount& mount) {
  constexpr std::uint64_t kQuotaBlock = 1024;
  dqblk quota{};
  if (mount.source.empty() ||
      ::quotactl(QCMD(Q_GETQUOTA, USRQUOTA), mount.source.c_str(), static_cast<int>(::getuid()),
                 reinterpret_cast<caddr_t>(&quota)) != 0)
    return std::nullopt;
  const std::uint64_t limit =
      (quota.dqb_bsoftlimit != 0 ? quota.dqb_bsoftlimit : quota.dqb_bhardlimit) * kQuotaBlock;
  if (limit == 0) return std::nullopt;
  return limit > quota.dqb_curspace ? limit - quota.dqb_curspace : 0;
}

}  // namespace

std::uint64_t FileSystemRoom::writable_bytes() const {
  return quota_left_bytes ? std::min(free_bytes, *quota_left_bytes) : free_bytes;
}

FileSystemRoom room_at(const fs::path& path) {
  std::error_code ignored;
  fs::path there = fs::absolute(path, ignored);
  while (!fs::exists(there, ignored) && there != there.root_path()) there = there.parent_path();
  FileSystemRoom room;
  struct stat found {};
  struct statvfs size {};
  if (::stat(there.c_str(), &found) == 0) {
    const Mount mount = mount_of(found.st_dev);
    room.kind = mount.kind;
    room.device = found.st_dev;
    room.quota_left_bytes = quota_left(mount);
  }
  if (::statvfs(there.c_str(), &size) == 0)
    room.free_bytes = std::uint64_t{size.f_bavail} * size.f_frsize;
  return room;
}

}  // namespace refract
