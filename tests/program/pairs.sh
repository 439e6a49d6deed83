#!/bin/bash
# moe-a2a alltoallv --per-pair: every pair of ranks is measured and checked, and who is slow is named for what it is.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/pairs.jsonl
short=(--warmup 1 --max-reps 9 --max-seconds 20)

loop() { # RANKS OPTION...
    local ranks=$1; shift
    rm -f "$json"
    run_loopback "$ranks" alltoallv --per-pair "${short[@]}" --json "$json" "$@"
}
refuse() { # EXPRESSION RANKS OPTION...
    local expression=$1 ranks=$2; shift 2
    run_loopback "$ranks" alltoallv "$@"
    check "$ranks ranks, alltoallv $* is refused" refused_in_one_line "$expression"
}
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

# ---- Records and tables ----
loop 5 --pair-bytes 64K
check "5 ranks: 20 messages" done_well and record_count "$json" 20 record=pair and \
    same 20 "$(records "$json" record=pair -- from to | sort -u | wc -l)"
check "each from one rank to another, with its rate" every_record "$json" record=pair -- from to bytes median_us GBps reps :: \
    '$1 != $2 && $1 < 5 && $2 < 5 && $3 == 65536 && ($3 / $4 / 1e3 / $5 - 1) ^ 2 < 1e-6 && $6 == 9'
check "its interval holds the median" every_record "$json" record=pair -- min_us ci_low_us median_us ci_high_us :: \
    '$1 > 0 && $1 <= $2 && $2 <= $3 && $3 <= $4'
check "one verdict" every_record "$json" record=finding -- evidence reach :: '$1 == "pairs" && $2 == "within"' and printed '^slow '
check "a matrix for people" printed '^pairs +20 messages of 64.0 KiB, one direction at a time, in 10 steps; 9 repetitions' and \
    printed '^   4 .* -$'
check "the run says that pairs were its source" every_record "$json" record=run -- source sync model.name :: '$1 == "pairs" && $2 == "barrier" && $3 == "-"'
loop 12 --pair-bytes 2K --ranks-per-node 3
check "12 ranks on 4 hosts: the slowest messages instead of a matrix" done_well and record_count "$json" 132 record=pair and \
    printed '^slowest messages' and not printed '^GB/s by medians'
check "between hosts and within, each by itself" record_count "$json" 0 record=finding reach=neither and \
    same "between within" "$(records "$json" record=finding -- reach | sort -u | xargs)"
for ranks in 2 3; do
    loop $ranks
    check "$ranks ranks are too few, and it says so" done_well and record_count "$json" 1 record=finding and \
        record_count "$json" 1 record=finding kind=unknown and printed '^slow .*too few ranks to say'
done
loop 4 --sizes 4K --pair-bytes 4K
check "with --sizes both are measured" done_well and record_count "$json" 1 record=exchange and record_count "$json" 12 record=pair and \
    printed '^ +4096 +native ' and printed '^GB/s by medians'
loop 3 --check off --pair-bytes 4K
check "--check off" done_well and record_count "$json" 6 record=pair
run_loopback 4 alltoallv --per-pair --max-seconds 1 --min-reps 100000 --max-reps 1000000 --json "$json"
check "--max-seconds holds for all pairs together" done_well and test "$seconds" -le 5 and printed ', not converged$'
every_field_is_described() {
    local field missing=0
    for field in $(records "$json" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described

# ---- Refused ----
refuse '--pair-bytes 4097: not an even' 4 --per-pair --pair-bytes 4097
refuse '--pair-bytes' 4 --per-pair --pair-bytes 0
refuse '--pair-bytes' 4 --per-pair --pair-bytes 2G
refuse '--pair-bytes: it is the message of --per-pair' 4 --pair-bytes 4K
refuse '--algorithm: pairs' 4 --per-pair --algorithm linear
refuse '--alternate' 4 --per-pair --alternate
refuse 'one rank is no pair' 1 --per-pair

# ---- Who is slow: planted under MPI, 40 ms a message, and more for some ----
library=$(realpath "$BUILD")/tests/fakes/fault_slow.so
spoil=$(realpath "$BUILD")/tests/fakes/fault_mpi.so
plant() { # WHOM RANKS OPTION...: see tests/fakes/fault_slow.c
    local more=$1 ranks=$2; shift 2
    rm -f "$json"
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" env LD_PRELOAD="$library" MOE_SLOW_MS=40 MOE_SLOW_MORE="$more" \
        "$program" alltoallv --per-pair --pair-bytes 4K --warmup 1 --min-reps 7 --max-reps 7 --max-seconds 60 --json "$json" "$@"
}
# Neighbours of this machine may make a message a fifth slower, but none half as slow again: that is told of who was planted only.
found() { # KIND DIRECTION RANKS: and nobody else
    same "$1 $2 $3" "$(records "$json" record=finding -- kind direction ranks.0 ranks.1 ratio | awk '$5 >= 1.5 { print $1, $2, $3, $4 }')"
}
planted() {
    plant "" 4
    check "where all are alike nobody is much slower" done_well and every_record "$json" record=finding -- kind ratio :: '$1 == "none" || $2 < 1.5'
    plant "2 * 80" 4
    check "a slow sender is named" done_well and found sender sending "2 -" and printed '^slow +rank 2 \(.*\) is slow to send: .* MADs above'
    check "with what it is held against" every_record "$json" record=finding -- value_us others_us limit_us ratio :: \
        '$1 >= 80000 && $2 >= 40000 && $2 < 70000 && $1 > $3 && $3 > $2 && ($1 / $2 / $4 - 1) ^ 2 < 1e-8'
    plant "* 1 80" 4
    check "a slow receiver is named" done_well and found receiver receiving "1 -"
    plant "3 0 80" 4
    check "a slow link is named, in its direction" done_well and found link sending "0 3" and \
        every_record "$json" record=finding -- from to pairs :: '$1 == 3 && $2 == 0 && $3 == 1' and \
        printed '^slow +the link from rank 3 \(.*\) to rank 0 \(.*\) is slow:'
    plant "3 * 80,* 3 80" 4 --ranks-per-node 1
    check "a host that is slow both ways is named" done_well and found host both "3 -" and \
        every_record "$json" record=finding -- reach hosts :: '$1 == "between" && $2 == 1'
}
statements=("where all are alike nobody is much slower" "a slow sender is named" "a slow receiver is named" "a slow link is named, in its direction")
if [ -z "$MPIRUN" ]; then
    skip "no MPI" "${statements[@]}" "a wrong element ends with 1, and where"
elif [ -n "$SANITIZE" ]; then
    skip "preloaded before the sanitizers" "${statements[@]}" "a wrong element ends with 1, and where"
else
    planted
    rm -f "$json"
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np 3 env LD_PRELOAD="$spoil" MOE_FAULT=flip MOE_FAULT_IN=messages MOE_FAULT_RANK=2 \
        "$program" alltoallv --per-pair "${short[@]}" --pair-bytes 4K --json "$json"
    check "a wrong element ends with 1, and where" ended_with 1 and said 'wrong data: --per-pair: from rank [01] to rank 2, element [0-9]+: expected' and \
        record_count "$json" 6 record=pair
fi
finish
