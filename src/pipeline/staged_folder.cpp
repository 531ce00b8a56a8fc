#include "pipeline/staged_folder.hpp"

#include <fcntl.h>
#include <stdio.h>

#include "pipeline/exports.hpp"

namespace refract {

StagedFolder stage_folder(const fs::path& final_name) {
  StagedFolder folder{final_name, {}, false};
  remove_all_quietly(folder.made());
  make_folder(final_name.parent_path());
  std::error_code error;  // its name is synced once it is the final one
  fs::create_directory(folder.made(), error);
  if (error) throw_file_error("creating the folder", folder.made(), error.value());
  return folder;
}

void settle_files(const StagedFolder& folder, const std::function<void()>& between_pieces) {
  for (const WrittenFile& file : folder.files) settle(file, between_pieces);
}

void give_final_name(StagedFolder& folder, const std::function<void()>& expect_own,
                     const std::function<void()>& between_pieces) {
  if (folder.exported)
    settle(write_unsynced(folder.made() / kExportFiles[2],
                          export_sums(folder.made(), between_pieces)));
  sync_path(folder.made());
  expect_own();
  if (!fs::exists(folder.final_name)) return rename_durably(folder.made(), folder.final_name);
  if (::renameat2(AT_FDCWD, folder.made().c_str(), AT_FDCWD, folder.final_name.c_str(),
                  RENAME_EXCHANGE) != 0) {
    remove_all_quietly(folder.final_name);
    return rename_durably(folder.made(), folder.final_name);
  }
  sync_path(folder.final_name.parent_path());
  remove_all_quietly(folder.made());
}

}  // namespace refract
