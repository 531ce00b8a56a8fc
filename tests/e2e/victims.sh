# Sourced by tests that end processes of a run: which processes it has, and that none is left.

# A rank has the run folder's name on its command line, and so have the launcher and the parent.
processes() { pgrep -f -- "--set run=$run( |\$)"; }
is_rank() { tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -q '^OMPI_COMM_WORLD_RANK='; }

# Set `victim` to one by RANDOM (which a subshell would draw by another seed); false where there is none.
choose() { [ $# -gt 0 ] && victim=${*:RANDOM % $# + 1:1}; }
random_victim() { choose $(processes); }
random_rank() {
  local all=() process
  for process in $(processes); do is_rank "$process" && all+=("$process"); done
  choose "${all[@]}"
}

# The ranks of a killed parent or rank end within seconds; on a slow machine, within more of them.
expect_nothing_left() {
  local tries
  for tries in $(seq 600); do
    [ -n "$(processes)" ] || return
    sleep 0.1
  done
  fail "processes are left after $tries tries: $(pgrep -fa -- "--set run=$run( |\$)")"
}
