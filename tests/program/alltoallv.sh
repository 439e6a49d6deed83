#!/bin/bash
# moe-a2a alltoallv: a raw exchange, checked byte by byte; what its records and its refusals say.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/alltoallv.jsonl matrix=$work/matrix
# Few repetitions: what is measured is not what is tested here.
short=(--warmup 1 --max-reps 8 --max-seconds 1)

same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
sound() {
    done_well && every_record "$json" record=exchange phase=alltoallv -- errors reps median_us min_us bytes.padding :: \
        '$1 == 0 && $2 > 0 && $3 >= $4 && $4 >= 0 && $5 == 0'
}
measure() { # RANKS OPTION...: under MPI where there is one, leaves the records in $json
    local ranks=$1; shift
    rm -f "$json"
    if [ -n "$MPIRUN" ]; then
        run_ranks "$ranks" alltoallv "${short[@]}" --json "$json" "$@"
    else
        run_loopback "$ranks" alltoallv "${short[@]}" --json "$json" "$@"
    fi
}
loop() { # RANKS OPTION...
    local ranks=$1; shift
    run_loopback "$ranks" alltoallv "${short[@]}" --quiet --json - "$@"; cp "$work/out" "$json"
}
refuse() { # EXPRESSION OPTION...
    local expression=$1; shift
    run_loopback 2 alltoallv "$@"
    check "alltoallv $* is refused" refused_in_one_line "$expression"
}

# ---- By sizes ----
measure 4 --sizes 1K:64K:4 --algorithm all --link-bandwidth 1GB/s --raw --per-rank --csv "$work/a2av.csv"
check "4 ranks, 4 sizes, every algorithm: every byte is right" sound
check "a line and a record for each size and algorithm" printed '^ +65536 +birkhoff ' and \
    record_count "$json" 4 record=exchange algorithm=pairwise phase=alltoallv and record_count "$json" 4 record=exchange algorithm=native phase=alltoallv
check "every pair has the size: 16 blocks, 12 of them cross" every_record "$json" record=exchange phase=alltoallv -- \
    bytes_per_pair bytes.useful bytes.logical bytes.wire :: '$2 == 16 * $1 && $3 == $2 && $4 == 12 * $1'
check "busbw is 3/4 of algbw, which is 4 blocks over the median" every_record "$json" record=exchange phase=alltoallv -- \
    busbw_GBps algbw_GBps median_us bytes_per_pair :: \
    '($1 / $2 - 0.75) ^ 2 < 1e-10 && ($2 * $3 * 1e3 / (4 * $4) - 1) ^ 2 < 1e-8'
check "bound is the busiest port over the link, efficiency its share of the median" every_record "$json" record=exchange phase=alltoallv -- \
    bound_us bytes_per_pair efficiency median_us :: '($1 * 1000 / (3 * $2) - 1) ^ 2 < 1e-8 && ($3 * $4 / $1 - 1) ^ 2 < 1e-8'
check "schedules are recorded apart, of algorithms that have one" record_count "$json" 4 record=exchange algorithm=birkhoff phase=schedule \
    and record_count "$json" 0 record=exchange algorithm=native phase=schedule
check "best says which it kept" every_record "$json" record=exchange algorithm=best phase=alltoallv -- chosen :: '$1 != "-"'
check "style is raw, and the hash goes with the size, not the algorithm" record_count "$json" 0 style=exact and \
    same 4 "$(records "$json" record=exchange phase=alltoallv -- bytes_per_pair matrix_hash | sort -u | wc -l)"
check "the run has no model, and its link" every_record "$json" record=run -- model routing source link.bandwidth_GBps link.source :: \
    '$1 == "-" && $2 == "-" && $3 == "sizes" && $4 == 1 && $5 == "given"'
check "CSV has as many fields in each line" eval \
    'awk -F, "NR > 1 && NF != fields { exit 1 } { fields = NF } END { exit NR < 28 }" "$work/a2av.csv"'
every_field_is_described() {
    local field missing=0
    for field in $(records "$json" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described
loop 3 --sizes 100:1000:+300
check "sizes by a step that is added" sound and same "100 400 700 1000 " "$(records "$json" record=exchange phase=alltoallv -- bytes_per_pair | tr '\n' ' ')"
loop 3 --sizes 1:1000:7 --ranks-per-node 2 --algorithm all
check "odd sizes, nodes that are not full" sound
loop 2 --sizes 1048583
check "a size that has no divisor" sound and record_count "$json" 1 bytes_per_pair=1048583
loop 1 --sizes 1K
check "one rank: no port carries anything" sound and every_record "$json" record=exchange phase=alltoallv -- bytes.wire busbw_GBps :: '$1 == 0 && $2 == "-"'
measure 2 --sizes 4K --link-bandwidth measure
check "the link measured by pairs" sound and every_record "$json" record=run -- link.bandwidth_GBps link.source :: \
    '$1 > 0 && $2 == "measured"' and printed '^link .*fastest of 1 pair '
loop 2 --sizes 4K
check "no link, no bound" sound and every_record "$json" record=exchange phase=alltoallv -- bound_us efficiency :: '$1 == "-" && $2 == "-"'
loop 2 --sizes 4K --max-reps 20 --max-seconds 20
check "from 20 repetitions on a drift is looked for" sound and every_record "$json" record=exchange phase=alltoallv -- reps drift drifts :: \
    '$1 == 20 && $2 > -1 && ($3 == "true" || $3 == "false")'
measure 4 --sizes 4K --sync none --algorithm native,pairwise,birkhoff
check "ranks may run free, and the record says so" sound and every_record "$json" record=run -- sync :: '$1 == "none"'
loop 2 --sizes 4K --check off
check "--check off claims no errors" every_record "$json" record=exchange phase=alltoallv -- errors :: '$1 == "-"'

# ---- By a matrix ----
printf '# bytes, row = source\n0 1000 3\n5 0 70000\n\n1 2 131072 # itself\n' >"$matrix"
measure 3 --matrix "$matrix" --algorithm all --ranks-per-node 2 --link-bandwidth 200mbit
check "a matrix file by every algorithm" sound and every_record "$json" record=exchange phase=alltoallv -- \
    bytes.useful bytes.wire tiers.self tiers.intra_node tiers.inter_node bound_us bytes_per_pair :: \
    '$1 == 202083 && $2 == 71011 && $3 == 131072 && $4 == 1005 && $5 == 70006 && ($6 - 70005 / 25) ^ 2 < 1 && $7 == "-"'
printf '0 0\n0 0\n' >"$matrix"
loop 2 --matrix "$matrix" --algorithm all
check "nothing at all" sound
for bad in '0 1\n2 -3\n|:2:3: .-3' '0 NaN\n2 3\n|:1:3: .NaN' '0 1.5\n2 3\n|:1:3: .1.5' '0 1\n2\n|:2:2: .*not square' \
    '0 1\n2 3 4\n|:2:5: .*not square' '0 1\n|:1:1: .*not square' '0 1 2\n3 4 5\n6 7 8\n|:3:1: .*3 ranks, and there are 2' \
    '0 99999999999999999999\n1 1\n|:1:3: .*do not fit memory' '|:1:1: .*no matrix'; do
    printf "${bad%%|*}" >"$matrix"
    refuse "--matrix: .*matrix${bad#*|}" --matrix "$matrix"
done
refuse '--matrix.*cannot open' --matrix "$work/none"

# ---- By a pattern ----
case=(--model olmoe-1b-7b --tokens 32 --hidden 128 --skew zipf:1.0)
measure 4 --pattern "${case[@]}" --algorithm native,pairwise
check "a pattern's matrix" sound and every_record "$json" record=run -- source model.name :: '$1 == "pattern" && $2 == "olmoe-1b-7b"'
sent=$(records "$json" record=exchange algorithm=native phase=alltoallv -- bytes.useful bytes.wire matrix_hash)
hash=$(records "$json" record=run -- routing.hash)
run pattern --ranks 4 "${case[@]}" --style exact --quiet --json -
check "it is what dispatch sends in style exact" same "$sent" \
    "$(records "$work/out" phase=dispatch -- bytes.useful bytes.wire matrix_hash | awk -v wire="$(echo "$sent" | awk '{ print $2 }')" '{ print $1, wire, $3 }')" \
    and same "$hash" "$(records "$work/out" record=run -- routing.hash)"
loop 4 --pattern --experts 3 --top-k 2 --hidden 64 --tokens 8 --ep 2
check "groups send to their own ranks only" sound
loop 3 --pattern "${case[@]}" --tokens 0
check "0 tokens" sound

# ---- Refused ----
refuse 'only one of' --sizes 1K --pattern
refuse 'only one of' --sizes 1K --matrix "$matrix"
refuse '--tokens: .*--pattern' --tokens 5
refuse '--sync round: there is barrier, round-time and none' --sync round
refuse '--sync none: --per-pair' --sync none --per-pair
refuse '--sync none: --alternate' --sync none --alternate --pattern
refuse '--ep: .*--pattern' --ep 2
for sizes in '' : 0 x 4M:1K 1K:4M:1 1K:4M:+0 1:1M:+1 1:2:3:4 1T NaN -1 1.5K; do
    refuse '--sizes' --sizes "$sizes"
done
refuse 'lower --sizes' --sizes 1K:60000G
for rate in '' 0 -1 NaN 5x 10gbps 1e30; do
    refuse '--link-bandwidth' --link-bandwidth "$rate"
done
run alltoallv --transport loopback --ranks 1 --link-bandwidth measure
check "one rank has no link to measure" refused_in_one_line '--link-bandwidth measure'
finish
