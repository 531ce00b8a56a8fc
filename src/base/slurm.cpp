#include "refract/base/slurm.hpp"

#include <cstdlib>
#include <ctime>
#include <limits>
#include <set>

#include "refract/base/command.hpp"
#include "refract/base/numbers.hpp"

namespace refract {
namespace {

constexpr double kPatience_s = 5;  // with squeue

std::string in_env(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

int number_in_env(const char* name) {
  return static_cast<int>(parse_count(in_env(name), std::numeric_limits<int>::max()).value_or(0));
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

std::optional<std::string> slurm_job() {
  const std::string array = in_env("SLURM_ARRAY_JOB_ID"), task = in_env("SLURM_ARRAY_TASK_ID");
  if (!array.empty() && !task.empty()) return array + "_" + task;
  const std::string job = in_env("SLURM_JOB_ID");
  return job.empty() ? std::nullopt : std::optional(job);
}

std::optional<std::int64_t> slurm_time_left_s(const std::string& text) {
  std::string clock = text;
  std::int64_t days_s = 0;
  if (const std::size_t dash = clock.find('-'); dash != std::string::npos) {
    const auto days = parse_count(clock.substr(0, dash), 100'000);
    if (!days) return std::nullopt;
    days_s = static_cast<std::int64_t>(*days) * 86400;
    clock.erase(0, dash + 1);
  }
  std::int64_t seconds = 0, units = 0;
  for (std::size_t at = 0; at <= clock.size();) {
    const std::size_t end = std::min(clock.find(':', at), clock.size());
    const auto number = parse_count(clock.substr(at, end - at), 1'000'000);
    if (!number || ++units > 3) return std::nullopt;
    seconds = seconds * 60 + static_cast<std::int64_t>(*number);
    at = end + 1;
  }
  return days_s + (units == 1 ? seconds * 60 : seconds);
}

std::optional<std::int64_t> slurm_job_end() {
  const std::optional<std::string> job = slurm_job();
  if (!job) return std::nullopt;
  if (const auto end =
          parse_count(in_env("SLURM_JOB_END_TIME"), std::numeric_limits<std::int64_t>::max()))
    return static_cast<std::int64_t>(*end);
  const std::optional<Answer> answer = ask({"squeue", "-h", "-j", *job, "-o", "%L"}, kPatience_s);
  if (!answer || answer->code != 0) return std::nullopt;
  const auto left_s = slurm_time_left_s(first_line(answer->text));
  return left_s ? std::optional(std::time(nullptr) + *left_s) : std::nullopt;
}

int slurm_step_tasks() { return number_in_env("SLURM_STEP_NUM_TASKS"); }
int slurm_step_rank() { return number_in_env("SLURM_PROCID"); }

std::optional<std::string> slurm_state_of(const std::string& job) {
  const std::optional<Answer> answer = ask({"squeue", "-h", "-j", job, "-o", "%T"}, kPatience_s);
  if (!answer) return std::nullopt;
  if (answer->code == 0) return first_line(answer->text);
  // What squeue says of a job that it has forgotten.
  if (answer->text.find("Invalid job id") != std::string::npos) return "";
  return std::nullopt;
}

bool slurm_has_ended(const std::string& state) {
  static const std::set<std::string> kEnded{
      "",          "BOOT_FAIL",     "CANCELLED", "COMPLETED", "DEADLINE",     "FAILED",
      "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",   "SPECIAL_EXIT", "TIMEOUT"};
  return kEnded.contains(state);
}

}  // namespace refract
