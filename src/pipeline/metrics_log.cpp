#include "pipeline/metrics_log.hpp"

namespace refract {

void MetricsLog::begin(std::string_view text) {
  bytes_ = text.size();
  digest_ = Sha256();
  digest_.add(text);
}

bool MetricsLog::resume(const MetricsMark& mark) {
  std::error_code ignored;
  const std::string found = fs::exists(file_, ignored) ? read_file(file_) : std::string();
  if (found.size() < mark.bytes) return false;
  begin(std::string_view(found).substr(0, mark.bytes));
  if (this->mark().digest != mark.digest) return false;
  if (found.size() > mark.bytes) AppendLog(file_).truncate(mark.bytes);
  return true;
}

void MetricsLog::rewrite(const std::string& text) {
  std::error_code ignored;
  begin(text);
  if (!fs::exists(file_, ignored) ? text.empty() : read_file(file_) == text) return;
  write_file(file_, text);
}

void MetricsLog::add(const std::string& line) {
  bytes_ += line.size() + 1;
  digest_.add(line);
  digest_.add("\n");
}

void MetricsLog::append(const fs::path& file, const std::string& line) {
  AppendLog(file).append(line);
}

}  // namespace refract
