#include "refract/base/slurm.hpp"

#include <algorithm>
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
  std::string clock = text;  // squeue leaves out hours, where there are none
  if (std::ranges::count(clock, ':') == 1) clock.insert(0, "00:");
  return parse_duration_s(clock);
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
