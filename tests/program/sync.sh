#!/bin/bash
# --sync: how repetitions start, and what the records say of it.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/sync.jsonl
short=(--warmup 1 --min-reps 8 --max-reps 8 --max-seconds 5 --json "$json")
small=(--model olmoe-1b-7b --tokens 16 --hidden 64)

measure() { # RANKS COMMAND OPTION...: under MPI where there is one
    local ranks=$1 command=$2; shift 2
    rm -f "$json"
    if [ -n "$MPIRUN" ]; then
        run_ranks "$ranks" "$command" "${short[@]}" "$@"
    else
        run_loopback "$ranks" "$command" "${short[@]}" "$@"
    fi
}
# A machine that is busy enough makes the clock worse than a barrier: it must be said then.
by_the_clock_or_said_not() {
    every_record "$json" record=run -- sync clock.error_us clock.bound_us clock.rounds clock.seconds clock.broadcast_us \
        clock.drift_ppm clock.refused clock.message_us :: \
        '$2 >= 0 && $3 >= $2 && $4 >= 1 && $5 > 0 && $6 >= 0 && $7 >= 0 && $9 > 0 && (($1 == "round-time" && $8 == "-" && $2 <= $4 * $9) || ($1 == "barrier" && $8 == "true" && $2 > $4 * $9))'
}
by_the_clock() { [ "$(records "$json" record=run -- sync)" = round-time ]; }
every_field_is_described() {
    local field missing=0
    for field in $(records "$json" -- @ | tr ' ' '\n' | sort -u) error_us bound_us drift_ppm rounds seconds broadcast_us message_us refused; do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
# Repetitions of a series that was given up are made by barriers, and their record says so.
counted() { # KIND
    every_record "$json" record="$1" -- sync invalid clock_error_us reps :: \
        '($1 == "round-time" || $1 == "barrier") && $2 >= 0 && $3 >= 0 && $4 >= 1 && $4 <= 8'
}

for command in alltoallv layer iteration; do
    case $command in
    alltoallv) options=(--sizes 1K:64K:64 --algorithm native,birkhoff --per-rank) kind=exchange ;;
    layer) options=("${small[@]}" --style exact,padded) kind=exchange ;;
    iteration) options=("${small[@]}" --style exact --measure-layers 1 --compute none --pass forward) kind=iteration ;;
    esac
    measure 3 $command --sync round-time "${options[@]}"
    check "$command by round-time: the clock, its error and its cost are recorded" done_well and by_the_clock_or_said_not
    check "$command by round-time: the heading says what the clock is worth" printed '^clock     common to [0-9.]+ us \(at most [0-9.]+ us\)'
    check "$command by round-time: every element is right" every_record "$json" record=$kind -- errors phase :: '$1 == 0 || $2 == "schedule"'
    if by_the_clock; then
        check "$command by round-time: invalid repetitions are counted, and are not among the others" counted $kind
    else
        skip "the clock was refused on this machine at this time" "$command by round-time: invalid repetitions are counted"
    fi
done

measure 3 alltoallv --sync round-time --sizes 4K --algorithm native,birkhoff --per-rank
if by_the_clock; then
    check "with a clock wait and transfer are apart" \
        every_record "$json" record=exchange phase=alltoallv -- wait_us transfer_us :: '$1 >= 0 && $2 > 0'
    check "and each rank's lateness" every_record "$json" record=rank phase=alltoallv -- late_us :: '$1 >= 0'
    check "every field is described in docs/results.md" every_field_is_described
else
    skip "the clock was refused on this machine at this time" "wait and transfer are apart" "each rank's lateness" "every field is described"
fi
measure 3 alltoallv --sync none --sizes 4K
check "ranks that run free have a clock too, and wait is told from transfer" done_well and \
    every_record "$json" record=run -- sync clock.error_us :: '$1 == "none" && $2 >= 0' and \
    every_record "$json" record=exchange phase=alltoallv -- wait_us transfer_us invalid :: '$1 >= 0 && $2 > 0 && $3 == "-"'
measure 3 alltoallv --sizes 4K
check "barriers need no clock" done_well and every_record "$json" record=run -- sync clock :: '$1 == "barrier" && $2 == "-"' and \
    every_record "$json" record=exchange phase=alltoallv -- wait_us clock_error_us invalid sync :: '$1 == "-" && $2 == "-" && $3 == "-" && $4 == "-"'
measure 1 alltoallv --sizes 4K --sync round-time
check "one rank agrees with itself" done_well and every_record "$json" record=run -- sync clock.bound_us clock.rounds :: \
    '$1 == "round-time" && $2 == 0 && $3 == 0'
run_loopback 8 alltoallv --warmup 1 --max-reps 6 --max-seconds 5 --sizes 1K --sync round-time --json "$json"
check "eight threads" done_well

# ---- A clock that is no good ----
refusal=("a clock that swings by 5 ms is refused, and barriers are used" "it is said" "and recorded")
if [ -z "$MPIRUN" ] || [ -n "$SANITIZE" ]; then
    skip "needs MPI, and is preloaded before the sanitizers" "${refusal[@]}"
else
    rm -f "$json"
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np 2 env MOE_FAULT_RANK=1 MOE_FAULT_US=5000 \
        LD_PRELOAD="$(realpath "$BUILD")/tests/fakes/fault_clock.so" "$program" alltoallv --sizes 4K "${short[@]}" --sync round-time
    check "${refusal[0]}" done_well and printed 'repetitions start by barriers: the clock aligns worse'
    check "${refusal[1]}" said '^moe-a2a alltoallv: --sync round-time: the clocks of the ranks agree to [0-9.]+ us only, .*by barriers instead'
    check "${refusal[2]}" every_record "$json" record=run -- sync clock.refused :: '$1 == "barrier" && $2 == "true"' and \
        every_record "$json" record=exchange -- sync wait_us :: '$1 == "-" && $2 == "-"'
fi

# ---- Refused ----
run_loopback 2 layer "${small[@]}" --sync none
check "a layer does not run free: total does" refused_in_one_line '--sync none: there is barrier and round-time'
run_loopback 2 alltoallv --sync never
check "an unknown start is refused" refused_in_one_line '--sync never: there is barrier, round-time and none'
finish
