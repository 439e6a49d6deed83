#!/bin/bash
# Ranks that get in each other's way are warned of, once, before anything is measured; and the record says so.
. tests/environment.sh
. tests/common/tap.sh

if [ -z "$MPIRUN" ] || ! command -v taskset >/dev/null; then
    skip "no MPI or no taskset here" "ranks on one core are warned of"
    finish
    exit
fi
if "$program" info | grep -q 'built without hwloc'; then
    skip "built without hwloc" "ranks on one core are warned of"
    finish
    exit
fi
build_json_query || exit 1
json=$work/binding.jsonl
short=(--model switch-base-8 --tokens 8 --hidden 128 --style exact --warmup 0 --max-reps 2 --max-seconds 1)
first_cpu=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)

on_one_core() { # RANKS COMMAND OPTION...
    local ranks=$1; shift
    rm -f "$json"
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" taskset -c "$first_cpu" "$program" "$@" --json "$json"
}
warnings() { # NUMBER
    local found
    found=$(grep -cE '^moe-a2a [a-z]+: warning: ' "$work/err")
    [ "$found" = "$1" ] || { echo "$found warnings where $1 were expected"; return 1; }
}
recorded() { every_record "$json" record=run -- binding.cpus binding.warnings :: "\$1 == $1 && \$2 == $2"; }

on_one_core 1 layer "${short[@]}"
check "a rank with a core of its own: no warning" done_well and warnings 0 and recorded 1 0
on_one_core 3 layer "${short[@]}"
check "three ranks on one core: one warning that names host, ranks and cores" done_well and warnings 1 and \
    said "^moe-a2a layer: warning: $(hostname): ranks 0-2 need 3 cores.* 1 core: "
check "the record holds it" recorded 3 1
on_one_core 2 iteration --model switch-base-8 --tokens 8 --hidden 128 --layers 4 --compute none --warmup 0 --max-reps 2 --quiet
check "--quiet does not hide it" done_well and warnings 1 and lines_printed 0
on_one_core 2 layer "${short[@]}" --tokens many
check "a run that is refused is not warned of" refused '--tokens.*many' and warnings 0
run_loopback 3 layer "${short[@]}" --json "$json.loopback"
check "ranks that are threads are not bound: no warning" done_well and warnings 0 and \
    every_record "$json.loopback" record=run -- binding :: '$1 == "-"'
finish
