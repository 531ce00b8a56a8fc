#pragma once
// `refract export`: an SAE of a run in the layout of another program. Reads the run's files alone:
// no model, no corpus, no ranks; the run may go on meanwhile.
#include <filesystem>
#include <string>

namespace refract {

struct ExportRequest {
  std::filesystem::path run;
  std::string sae = {};         // empty: the run's first
  std::string checkpoint = {};  // a folder's name; empty: `latest`
  std::string format;           // of sae/layout.hpp
  std::string dtype = {};       // empty: fp32
  std::filesystem::path out;
};

// The folder that was made, whole under its name. ConfigError for a run, SAE, checkpoint, format or
// dtype that there is not, and where the folder exists already; DataError when what is to be
// exported is not what was written.
[[nodiscard]] std::filesystem::path export_sae(const ExportRequest& request);

}  // namespace refract
