#!/bin/bash
# Who is slow, on links that are: in the lab `alltoallv --per-pair` names the host whose link has half the rate, and a
# healthy lab is not accused of such a thing. tools/lab-slow does it at length.
. tests/environment.sh
. tests/common/tap.sh

lab=tools/lab
state=/run/moe-a2a-lab
json=$work/slow.jsonl
statements=("the host with half the rate is named, and twice as slow" "no other rank or link is so slow"
    "links in order are not accused of it" "every message was measured")

reason=
if [ "$(id -u)" != 0 ]; then reason="not root"
elif ! command -v ip >/dev/null || ! command -v tc >/dev/null; then reason="no ip or no tc"
elif ! unshare --net --uts --mount true 2>/dev/null; then reason="network namespaces are not permitted"
elif [ -e $state ]; then reason="a lab is up"
elif [ -z "$MPIRUN" ]; then reason="no MPI"
elif [[ $MPIRUN == *mpich* ]]; then reason="MPICH polls: run with Open MPI"
elif [ -n "$SANITIZE" ]; then reason="no times under sanitizers"
fi
if [ -n "$reason" ]; then
    skip "$reason" "${statements[@]}"
    finish
    exit
fi
leave() { [ ! -e $state ] || $lab down >/dev/null; rm -rf "$work"; }
build_json_query || exit 1

measure() { # OPTION-OF-UP...
    rm -f "$json"
    $lab up --subnet 198.18.78.0/24 --hosts 4 --rate 200mbit "$@" >"$work/up" || return
    keep_run $lab run -- "$program" alltoallv --per-pair --pair-bytes 2M --warmup 1 --min-reps 7 --max-reps 9 --max-seconds 20 \
        --json "$json"
    $lab down >/dev/null
}

# The time of others is that of 2 MiB at 200 Mbit/s, 84 ms, less what a full bucket gives out at once; noise may add to it, but
# does not make links in order take half as long again.
measure --slow host2=100mbit
check "${statements[0]}" done_well and record_count "$json" 1 record=finding kind=host ranks.0=2 hosts.0=host2 and \
    every_record "$json" record=finding kind=host ranks.0=2 -- ratio others_us :: '$1 > 1.6 && $1 < 2.4 && $2 > 75000'
check "${statements[1]}" every_record "$json" record=finding -- kind ratio :: '$1 == "host" || $2 < 1.5'
measure
check "${statements[2]}" done_well and every_record "$json" record=finding -- kind ratio :: '$1 == "none" || $2 < 1.5'
check "${statements[3]}" record_count "$json" 12 record=pair
finish
