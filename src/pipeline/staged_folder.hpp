#pragma once
// A folder that is written under its temporary name, and gets its final one when all its files are
// settled (base/written_file.hpp): whole under its name, at any moment.
#include <filesystem>
#include <functional>
#include <vector>

#include "refract/base/written_file.hpp"

namespace refract {

struct StagedFolder {
  fs::path final_name;
  std::vector<WrittenFile> files;  // in its temporary twin
  [[nodiscard]] fs::path made() const { return part_name(final_name); }
};

// An empty folder under the temporary name of `final_name`.
[[nodiscard]] StagedFolder stage_folder(const fs::path& final_name);

// Settles the files, then gives the folder its name; what had it before is replaced in one step
// where the file system can exchange names. expect_own(): before the rename. Any thread; throws as
// settle does.
void settle(const StagedFolder& folder, const std::function<void()>& expect_own,
            const std::function<void()>& between_pieces = {});

}  // namespace refract
