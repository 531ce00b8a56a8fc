#!/usr/bin/env bash
# mpi_launch.sh MPIEXEC RANKS PROGRAM [ARGUMENTS...]: starts a test on RANKS ranks of this machine, however
# few cores it has, also as root in a container.
set -eu
mpiexec=$1
ranks=$2
shift 2

options=(-n "$ranks")
if "$mpiexec" --version 2>&1 | grep -qE 'Open MPI|OpenRTE'; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  # More ranks than cores: a waiting rank gives its core away.
  export OMPI_MCA_mpi_yield_when_idle=1
  # Containers often forbid the system call behind the single-copy path; copying twice always works.
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
  options=(--oversubscribe --bind-to none "${options[@]}")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
exec "$mpiexec" "${options[@]}" "$@"
