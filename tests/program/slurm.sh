#!/bin/bash
# A real Slurm of one node (slurmctld, slurmd, munge), with configuration, key, ports and files of its own below the
# test's directory; what srun starts there behaves as what mpirun starts. Another Slurm of this machine is not touched.
. tests/environment.sh
. tests/common/tap.sh
export PATH=$PATH:/usr/sbin

build_json_query || exit 1
json=$work/slurm.jsonl
# shellcheck disable=SC2086
unset ${!SLURM@} ${!SRUN@} ${!SBATCH@} ${!PMI@} # of a job that this may run in
# The PMI that the MPI was built for.
pmi=pmi2
[ "${#mpi_flags[@]}" = 0 ] || pmi=pmix
# More ranks than cores: Open MPI learns of that from mpirun, and not from srun.
export OMPI_MCA_mpi_yield_when_idle=1
patience=30

# ---- A Slurm, up and down ----
daemons=()
free_port() { # FIRST: the first port from there that nobody listens at
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}
configure() {
    local controller node host
    host=$(hostname -s)
    controller=$(free_port $((20000 + $$ % 5000))); node=$(free_port $((controller + 1)))
    mkdir -p "$work/slurm/state" "$work/slurm/spool" "$work/slurm/tmp"
    (umask 077; head -c 1024 /dev/urandom >"$work/slurm/munge.key")
    export SLURM_CONF=$work/slurm/slurm.conf
    echo "PMIxCliTmpDirBase=$work/slurm/tmp" >"$work/slurm/mpi.conf"
    cat >"$SLURM_CONF" <<CONFIGURATION
ClusterName=moe-a2a-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/slurm/munge.socket
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/slurmctld.pid
SlurmdPidFile=$work/slurm/slurmd.pid
SlurmctldLogFile=$work/slurm/slurmctld.log
SlurmdLogFile=$work/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/linear
SlurmdParameters=config_overrides
KillWait=2
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=30 OverSubscribe=FORCE:4
CONFIGURATION
}
start_daemons() {
    munged --foreground --force --key-file="$work/slurm/munge.key" --socket="$work/slurm/munge.socket" \
        --pid-file="$work/slurm/munged.pid" --log-file="$work/slurm/munged.log" --seed-file="$work/slurm/munge.seed" \
        >"$work/slurm/munged.out" 2>&1 &
    daemons+=($!)
    wait_until 5 test -S "$work/slurm/munge.socket"
    slurmctld -D -f "$SLURM_CONF" >"$work/slurm/slurmctld.out" 2>&1 &
    daemons+=($!)
    slurmd -D -f "$SLURM_CONF" >"$work/slurm/slurmd.out" 2>&1 &
    daemons+=($!)
}
# wait_until SECONDS COMMAND...
wait_until() {
    local end=$((SECONDS + $1)); shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
node_is_idle() { sinfo -h -o %T 2>/dev/null | grep -qx idle; }
stop_daemons() {
    [ ${#daemons[@]} -gt 0 ] || return 0
    timeout 5 scancel --full --user=root >/dev/null 2>&1
    kill "${daemons[@]}" 2>/dev/null
    wait_until 8 none_alive || kill -9 "${daemons[@]}" 2>/dev/null
    wait "${daemons[@]}" 2>/dev/null
    daemons=()
}
none_alive() { ! kill -0 "${daemons[@]}" 2>/dev/null; }
leave() { stop_daemons; rm -rf "$work"; }

# ---- Where it cannot be ----
reason=
missing=$(for command in munged slurmctld slurmd srun; do command -v $command >/dev/null || echo $command; done)
if [ -z "$MPIRUN" ]; then reason="no MPI here"
elif [ "$(id -u)" != 0 ]; then reason="not root"
elif [ -n "$missing" ]; then reason="no $(echo $missing) (tools/setup --slurm)"
else
    configure
    start_daemons
    if ! wait_until 15 node_is_idle; then
        reason="Slurm does not start: $(cat "$work"/slurm/*.out "$work"/slurm/*.log 2>/dev/null | grep -iE 'fatal|error' | head -1)"
    elif ! srun --mpi=list 2>&1 | grep -qw $pmi; then
        reason="this Slurm was built without $pmi"
    fi
fi
if [ -n "$reason" ]; then
    skip "$reason" "ranks that srun started run, refuse, warn and end as those of mpirun" "the sbatch examples run"
    finish
    exit
fi

# ---- Runs ----
# with_srun RANKS COMMAND OPTION...: leaves the records in $json
with_srun() {
    local ranks=$1; shift
    rm -f "$json"
    keep_run srun --mpi=$pmi --cpu-bind=none -n "$ranks" "$program" "$@"
}
first_cpu=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
short=(--model switch-base-8 --tokens 16 --hidden 128 --warmup 1 --max-reps 5 --max-seconds 1)

with_srun 4 layer "${short[@]}" --style exact,padded --json "$json"
check "srun --mpi=$pmi -n 4 moe-a2a layer: every element is right" done_well and \
    every_record "$json" record=exchange -- errors reps :: '$1 == 0 && $2 > 0'
check "the record tells of four ranks on one node, and of Slurm's placement" every_record "$json" record=run -- ranks nodes \
    env.SLURM_STEP_NUM_TASKS :: '$1 == 4 && $2 == 1 && $3 == 4'
with_srun 2 iteration "${short[@]}" --layers 4 --compute none --json "$json"
check "an iteration" done_well and every_record "$json" record=iteration -- errors ranks :: '$1 == 0'
with_srun 4 layer "${short[@]}" --tokens many
check "a bad option under srun is refused once, with 2" refused '--tokens.*many'
keep_run srun --mpi=$pmi --cpu-bind=map_cpu:"$first_cpu" -n 2 "$program" layer "${short[@]}"
check "ranks that Slurm bound to one core are warned of, once" done_well and \
    test "$(grep -cE '^moe-a2a layer: warning: .*ranks 0-1 need 2 cores' "$work/err")" = 1
if [ $pmi = pmi2 ]; then
    keep_run srun --mpi=none --cpu-bind=none -n 2 "$program" layer "${short[@]}"
    check "tasks that do not find each other are refused once, with the remedy" refused 'srun started 2 tasks.*--mpi'
else # Open MPI itself ends a program that srun started without PMIx
    keep_run srun --mpi=none --cpu-bind=none -n 2 "$program" layer "${short[@]}"
    check "tasks that do not find each other measure nothing" not done_well and not printed 'fastest first'
fi

# ---- A batch job, as the examples say ----
rm -f "$json"
queue_is_empty() { [ -z "$(squeue -h)" ]; }
MOE_A2A=$(realpath "$program") MOE_A2A_PMI=$pmi SLURM_CPU_BIND=none keep_run sbatch --nodes=1 --ntasks-per-node=2 \
    --chdir="$work" --output="$work/batch" examples/layer.sbatch "${short[@]}" --style exact --algorithm native --json "$json"
check "examples/layer.sbatch runs, with the options behind it" done_well and wait_until 20 queue_is_empty and \
    grep -q '^fastest first' "$work/batch" and \
    every_record "$json" record=run -- ranks model.tokens :: '$1 == 2 && $2 == 16' and \
    every_record "$json" record=exchange -- errors :: '$1 == 0'

# ---- A rank that is killed ----
ranks_running() { # process ids of ranks that write to $json
    grep -lzxF -- "$json" /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ id _; do
        [ "$(readlink "/proc/$id/exe")" = "$(realpath "$program")" ] && echo "$id"
    done
}
first_is_measured() { grep -q '"record":"exchange"' "$json" 2>/dev/null; }
none_is_running() { [ -z "$(ranks_running)" ]; }
kill_one() {
    local launcher start victim
    rm -f "$json"
    echo "a layer that is killed" >"$work/command"; : >"$work/out"
    timeout -k 5 "$patience" srun --mpi=$pmi --cpu-bind=none -n 2 "$program" layer "${short[@]}" --style exact --algorithm all \
        --max-reps 1000K --min-reps 1000K --max-seconds 1 --timeout 4 --quiet --json "$json" >"$work/out" 2>"$work/err" </dev/null &
    launcher=$!
    wait_until 15 first_is_measured
    victim=$(ranks_running | tail -1)
    [ -n "$victim" ] || { kill $launcher; return 1; }
    start=$SECONDS
    kill -9 "$victim"
    wait $launcher; rc=$?
    seconds=$((SECONDS - start))
}
whole_lines() { records "$json" record=exchange >/dev/null; }
check "a rank is killed while another is measured" kill_one
check "the rest ends within the time-out, and not as done" not done_well and test "$seconds" -lt 15
check "no rank is left" wait_until 10 none_is_running
check "what was measured before is kept, line by line" whole_lines

# ---- Down ----
check "no job is left" wait_until 10 queue_is_empty
stop_daemons
nothing_is_left() { ! grep -lF "$work/slurm/" /proc/[0-9]*/cmdline 2>/dev/null; }
check "all daemons are down" nothing_is_left
finish
