#!/bin/bash
# What goes wrong in an exchange is found and said, and a run that cannot go on ends on all ranks. Faults
# are planted under MPI's profiling interface (tests/fakes/fault_mpi.c), so the program is as it is.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/faults.jsonl
library=$(realpath "$BUILD")/tests/fakes/fault_mpi.so
short=(--model switch-base-8 --tokens 16 --hidden 128 --warmup 0 --max-reps 2 --quiet --json "$json")

# spoil "VARIABLE=VALUE ..." RANKS OPTION...: under mpirun with a fault; leaves the records in $json
spoil() {
    local fault=$1 ranks=$2; shift 2
    rm -f "$json"
    # shellcheck disable=SC2086
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" env LD_PRELOAD="$library" $fault "$program" "$@" "${short[@]}"
}
# found RANK PHASE NUMBER OF FINDINGS
found() {
    local findings
    ended_with 1 || return 1
    findings=$(grep -cE "^moe-a2a .*wrong data: .*: rank $1: after $2: row [0-9]+, token [0-9]+, column [0-9]+: expected [-0-9.]+, got [-a-z0-9.]+ \(" "$work/err")
    [ "$findings" = "$3" ] || { echo "$findings findings where $3 were expected"; return 1; }
}

plant() {
    # Two ranks: blocks of `padded` are equal, so that native is MPI_Alltoall there and MPI_Alltoallv for exact.
    for fault in flip swap lose; do
        spoil MOE_FAULT=$fault 2 layer --style padded,exact --algorithm native,linear,pairwise
        check "$fault: found in two styles by three algorithms, and where" found 1 dispatch 6
        check "$fault: every record tells of errors" every_record "$json" record=exchange -- errors :: '$1 > 0'
        # A check makes two exchanges: the second one of each kind is a combine.
        spoil "MOE_FAULT=$fault MOE_FAULT_AT=2" 2 layer --style exact --algorithm native,linear
        check "$fault: found in a single combine by either algorithm" found 1 combine 2
        [ $fault != flip ] ||
            check "a single bit is a single wrong element" said 'native: .* \(1 wrong elements in all\)'
    done
    spoil "MOE_FAULT=flip MOE_FAULT_RANK=2" 3 layer --style exact
    check "the rank that is told is the one that got it" found 2 dispatch 1
    spoil "MOE_FAULT=flip MOE_FAULT_RANK=3" 4 layer --style exact --algorithm linear --ep 2
    check "so it is with two groups of ranks" found 3 dispatch 1
    spoil MOE_FAULT=flip 2 layer --style exact --check off
    check "--check off finds nothing, as it says" done_well and every_record "$json" record=exchange -- errors :: '$1 == "-"'
    spoil MOE_FAULT=lose 2 iteration --style exact --layers 4 --compute none
    check "an iteration finds it too" found 1 dispatch 1 and every_record "$json" record=iteration -- errors :: '$1 > 0'
    spoil MOE_FAULT_AT=1 2 layer --style padded,exact --algorithm native,linear
    check "without a fault the same library finds nothing" done_well

    # native is done before linear hangs
    spoil "MOE_FAULT=hang MOE_FAULT_IN=messages" 2 layer --style exact --algorithm native,linear --timeout 3
    check "a hang ends the run with 4, soon after --timeout" ended_with 4 and test "$seconds" -lt 30
    check "one message tells what was going on" messages 1 and said 'no progress for 3 s during exact linear'
    check "what was measured before is kept" record_count "$json" 6 record=exchange and \
        record_count "$json" 6 algorithm=native
    spoil "MOE_FAULT=hang MOE_FAULT_RANK=0" 2 iteration --layers 4 --compute none --timeout 2
    check "a hang of the first rank ends the run too" ended_with 4 and messages 1
    spoil MOE_FAULT=fail 2 layer --style exact --timeout 20
    check "an error of MPI_Alltoallv ends the run with 4 and names the call" ended_with 4 and messages 1 and \
        said '^moe-a2a.*MPI_Alltoallv failed'
    spoil "MOE_FAULT=fail MOE_FAULT_IN=messages" 2 layer --style exact --algorithm native,linear --timeout 20
    check "so does one of MPI_Isend" ended_with 4 and messages 1 and said '^moe-a2a.*MPI_Isend failed'
    check "what was measured before it is kept" record_count "$json" 6 record=exchange
    spoil MOE_FAULT=memory 3 layer --style two-hop,padded --ranks-per-node 1 --timeout 20
    check "one rank alone without memory for its rows ends all, with one message" ended_with 2 and messages 1 and \
        said '^moe-a2a layer: .*do not fit memory' and test "$seconds" -lt 20
    spoil "MOE_FAULT=memory MOE_FAULT_RANK=0" 4 iteration --style exact --ep 2 --layers 2 --compute none --timeout 20
    check "so it does in one of two groups" ended_with 2 and messages 1 and test "$seconds" -lt 20
}

# ---- A rank that is killed ----
ranks_running() { ranks_of "$json"; }
# wait_until SECONDS COMMAND...
wait_until() {
    local end=$((SECONDS + $1)); shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
first_is_measured() { grep -q '"record":"exchange"' "$json" 2>/dev/null; }
none_is_running() { [ -z "$(ranks_running)" ]; }
kill_one() {
    local launcher start victim
    rm -f "$json"
    echo "a layer that is killed" >"$work/command"; : >"$work/out"
    timeout -k 5 "$patience" "$MPIRUN" "${mpi_flags[@]}" -np 2 "$program" layer "${short[@]}" --style exact \
        --algorithm all --max-reps 1000K --min-reps 1000K --max-seconds 1 >"$work/out" 2>"$work/err" </dev/null &
    launcher=$!
    # two algorithms of a second each are still to come
    wait_until 60 first_is_measured
    victim=$(ranks_running | tail -1)
    [ -n "$victim" ] || { kill $launcher; return 1; }
    start=$SECONDS
    kill -9 "$victim"
    wait $launcher; rc=$?
    seconds=$((SECONDS - start))
}

whole_lines() { records "$json" record=exchange >/dev/null; }

if [ -z "$MPIRUN" ]; then
    skip "no MPI here" "faults planted in MPI are found" "a rank that is killed ends the others"
elif [ -n "$SANITIZE" ]; then
    skip "a sanitizer's library must be loaded before any other" "faults planted in MPI are found"
else
    plant
fi
if [ -n "$MPIRUN" ]; then
    check "a rank is killed while another is measured" kill_one
    check "the launcher ends the run, and not as done" not done_well and test "$seconds" -lt 30
    check "no rank is left" wait_until 10 none_is_running
    check "what was measured before is kept, line by line" whole_lines
fi
finish
