#!/usr/bin/env bash
# cluster.sh start FOLDER [GUARDED_PID] | stop FOLDER
#
# A Slurm of its own on this machine: slurmctld and a slurmd for each of four virtual nodes, in FOLDER, on free ports,
# without munge, systemd or a database. As root. Exits 77 where that cannot be (Slurm absent, not root).
# `export SLURM_CONF=FOLDER/slurm.conf` makes sbatch and the others talk to it.
#
# start also leaves a guard behind, which stops the cluster when the process GUARDED_PID is gone (the caller of this
# script by default, ctest): an interrupted test run leaves nothing. stop ends every process that belongs to FOLDER's
# Slurm, job steps that outlived their slurmd among them.
set -euo pipefail

nodes=4
usage() { sed -n '2s/^# /usage: /p' "${BASH_SOURCE[0]}" >&2; exit 2; }
[ $# -ge 2 ] || usage
mkdir -p "$2"
folder=$(realpath "$2")
export SLURM_CONF=$folder/slurm.conf

skip() {
  echo "skipped: $*"
  exit 77
}

# Slurm's processes and those of its jobs have this SLURM_CONF in their environment; so may a user's shell.
ours() {
  local environ pid
  for environ in $(grep -lzxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${environ#/proc/} pid=${pid%/environ}
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == slurm* ]] || grep -qz '^SLURM_JOB_ID=' "$environ" 2>/dev/null || continue
    echo "$pid"
  done
}

stop() {
  [ -e "$folder/cluster" ] || return 0
  timeout 20 scancel --full --signal=KILL --state=RUNNING 2>/dev/null || true
  timeout 20 scancel --user=root 2>/dev/null || true
  local left round
  for round in TERM KILL KILL KILL; do
    # shellcheck disable=SC2046
    kill -s $round $(ours) 2>/dev/null || true
    for _ in {1..40}; do
      [ -n "$(ours)" ] || break 2
      sleep 0.1
    done
  done
  rm -f "$folder/cluster"
  left=$(ours)
  [ -z "$left" ] || { echo "cluster: these processes did not end: $left"; exit 1; }
}

write_configuration() {
  local host ports node
  host=$(hostname -s)
  # Free now; taken below within a second.
  mapfile -t ports < <(python3 - $((nodes + 1)) <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
for s in sockets:
    print(s.getsockname()[1])
PY
  )
  cat >"$SLURM_CONF" <<CONF
ClusterName=refract
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
# A requeued job becomes eligible once its credential is out of date: 121 s by default.
AuthInfo=cred_expire=5
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/spool.%n
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmdLogFile=$folder/slurmd.%n.log
# Of its own for each node: the PMIx plugin makes a folder there by job and step.
TmpFS=$folder/tmp.%n
# More processors and memory than the machine has may be declared.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldTimeout=60
SlurmdTimeout=60
InactiveLimit=0
KillWait=30
MinJobAge=3600
GresTypes=gpu
CONF
  for ((node = 1; node <= nodes; node++)); do
    echo "NodeName=vn$node NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[$node]} CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN"
  done >>"$SLURM_CONF"
  cat >>"$SLURM_CONF" <<CONF
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=OFF MaxTime=INFINITE State=UP
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
CONF
  # Slurm wants character devices: the null device does.
  echo "Name=gpu File=$folder/gpu[0-1]" >"$folder/gres.conf"
}

start() {
  [ "$(id -u)" -eq 0 ] || skip "only root can start Slurm for virtual nodes"
  local program node guarded=${1:-$PPID}
  for program in slurmctld slurmd sbatch srun; do
    command -v $program >/dev/null || skip "$program is not installed (bash tests/slurm/setup.sh)"
  done
  stop
  rm -rf "${folder:?}"/{state,spool.*,tmp.*,gpu*,*.log,*.pid}
  write_configuration
  mkdir -p "$folder/state"
  for node in 0 1; do mknod "$folder/gpu$node" c 1 3 || skip "no device node can be made in $folder"; done
  touch "$folder/cluster"
  setsid slurmctld -D -c >"$folder/slurmctld.out" 2>&1 </dev/null &
  for ((node = 1; node <= nodes; node++)); do start_node "$node"; done
  setsid bash "${BASH_SOURCE[0]}" guard "$folder" "$guarded" >/dev/null 2>&1 </dev/null &
  for _ in {1..600}; do
    [ "$(timeout 10 sinfo -h -p main -t idle -o %D 2>/dev/null || true)" != "$nodes" ] || { timeout 10 sinfo -N -p main; return; }
    sleep 0.2
  done
  tail -n 5 "$folder"/slurm*.log
  stop
  echo "cluster: the nodes were not idle after two minutes"
  exit 1
}

start_node() {
  mkdir -p "$folder/spool.vn$1" "$folder/tmp.vn$1"
  setsid slurmd -D -N "vn$1" >"$folder/slurmd.vn$1.out" 2>&1 </dev/null &
}

case $1 in
  start) start "${3:-}" ;;
  stop) stop ;;
  start-node) start_node "${3#vn}" ;;  # again, after a test has killed its slurmd
  guard)
    while kill -0 "$3" 2>/dev/null && [ -e "$folder/cluster" ]; do sleep 1; done
    stop
    ;;
  *) usage ;;
esac
