#!/usr/bin/env bash
# singletons.sh REFRACT SOURCE CLUSTER: srun without PMIx would start as many runs as tasks; it is refused in one line.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
shrink_slurm singletons
job=$(sbatch --parsable --nodes=1 --ntasks=2 --output="$log" --wrap \
  "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; srun --mpi=none $refract run $config ${settings[*]}; echo code \$?") || fail "sbatch"
jobs_submitted+=("$job")
wait_job_end "$job"
expect_log '^code 4$' "srun without PMIx"
expect_log '^refract\[0\] .*SLURM_STEP_NUM_TASKS.*srun --mpi=pmix' "srun without PMIx"
[ "$(grep -c '^refract\[' "$log")" -eq 1 ] || fail "srun without PMIx: not one line"
[ ! -e "$run/status" ] || fail "srun without PMIx began a run"
passed "srun without PMIx is refused in one line"

# A shell in a step of one task, as `srun --pty bash` gives one.
answer=$(sbatch --parsable --nodes=1 --ntasks=1 --output="$log" --wrap \
  "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; srun --mpi=none $refract run $config ${settings[*]}") || fail "sbatch"
jobs_submitted+=("$answer")
expect_end "$answer" COMPLETED 0 "one task without PMIx is a world of one"
expect_status "^done " "one task without PMIx"
