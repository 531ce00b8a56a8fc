#pragma once
// What Slurm says to a process of a job: its environment, and squeue where that is silent.
#include <cstdint>
#include <optional>
#include <string>

namespace refract {

// As scontrol and squeue take it: "4711", of an array's member "4700_3"; nothing outside a job.
[[nodiscard]] std::optional<std::string> slurm_job();

// When the allocation ends, in seconds since 1970: SLURM_JOB_END_TIME, else squeue is asked (once,
// for a few seconds at most). Nothing outside a job, without a limit, or where neither says it.
[[nodiscard]] std::optional<std::int64_t> slurm_job_end();

// Tasks of the step that this process is one of: of `srun -n 4` four; 0 where it is none.
[[nodiscard]] int slurm_step_tasks();
[[nodiscard]] int slurm_step_rank();  // SLURM_PROCID; 0 where there is none

// What squeue calls it ("RUNNING", "PENDING", ...); empty: not in the queue any more; nothing:
// squeue is not there or does not answer.
[[nodiscard]] std::optional<std::string> slurm_state_of(const std::string& job);

// Whether a job in such a state has no process and will have none; also of one that has left the
// queue ("").
[[nodiscard]] bool slurm_has_ended(const std::string& state);

// The time in "1-12:00:00", "4:00:00" or "12:30", as squeue prints it, in seconds; nothing for
// UNLIMITED, INVALID and the like.
[[nodiscard]] std::optional<std::int64_t> slurm_time_left_s(const std::string& text);

}  // namespace refract
