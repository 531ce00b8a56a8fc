#include "refract/base/machine.hpp"

#include <fstream>

namespace refract {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  return file >> id ? id : "-";
}

}  // namespace refract
