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
  bool exported = false;           // it holds a SAELens folder
  [[nodiscard]] fs::path made() const { return part_name(final_name); }
};

// An empty folder under the temporary name of `final_name`.
[[nodiscard]] StagedFolder stage_folder(const fs::path& final_name);

// Settles the files: those that this rank wrote, where several did. Any thread; throws as settle of
// one does.
void settle_files(const StagedFolder& folder, const std::function<void()>& between_pieces = {});

// When all that wrote have settled their files: SHA256SUMS where the folder is an export, and the
// final name; what had it before is replaced in one step where the file system can exchange names.
// expect_own(): before the rename. Any thread; throws as above.
void give_final_name(StagedFolder& folder, const std::function<void()>& expect_own,
                     const std::function<void()>& between_pieces = {});

}  // namespace refract
