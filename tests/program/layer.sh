#!/bin/bash
# moe-a2a layer: dispatch and combine of one layer, checked byte by byte, and what is recorded of it.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/layer.jsonl
# Few repetitions: what is measured is not what is tested here.
short=(--warmup 1 --max-reps 8 --max-seconds 0.3)
all=(--style padded,padded-max,exact --algorithm native,linear,pairwise)
case=(--model olmoe-1b-7b --tokens 16 --hidden 256 --skew zipf:1.0)

# What holds of every sound run in $json. padded has no metadata: 5 phases, the others 6.
sound() {
    done_well && every_record "$json" record=exchange -- errors reps median_us min_us :: \
        '$1 == 0 && $2 > 0 && $3 >= $4 && $4 >= 0'
}
nine_rows() { record_count "$json" $((3 * (5 + 6 + 6))) record=exchange; }
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
number() { awk "BEGIN { exit !($1) }" || { echo "not so: $1"; return 1; }; }
wire() { records "$json" record=exchange style="$1" algorithm=native phase="$2" -- bytes.wire; } # STYLE PHASE
measure() { # RANKS OPTION...: under MPI where there is one, leaves the records in $json
    local ranks=$1; shift
    rm -f "$json"
    if [ -n "$MPIRUN" ]; then
        run_ranks "$ranks" layer "${short[@]}" --json "$json" "$@"
    else
        run_loopback "$ranks" layer "${short[@]}" --json "$json" "$@"
    fi
}

# ---- The case that people run ----
measure 4 "${case[@]}" "${all[@]}" --raw --per-rank --csv "$work/layer.csv"
check "4 ranks, three styles, three algorithms: every element is right" sound and nine_rows
check "the table has a line for each phase" printed '^padded +native +permute' and printed '^exact +pairwise +total'
check "wire of padded-max is no less than of exact" \
    number "$(wire padded dispatch) >= $(wire padded-max dispatch)" and \
    number "$(wire padded-max dispatch) >= $(wire exact dispatch)" and \
    number "$(wire padded-max combine) >= $(wire exact combine)" and number "$(wire exact dispatch) > 0"
check "exact pads nothing" every_record "$json" record=exchange style=exact phase=dispatch -- bytes.padding :: '$1 == 0'
check "all styles carry the same useful bytes: 64 tokens, 8 experts each, 512 B" \
    every_record "$json" record=exchange phase=combine -- bytes.useful :: '$1 == 4 * 16 * 8 * 512'
check "rows are the same by every algorithm" same 1 \
    "$(records "$json" record=exchange style=exact phase=dispatch -- matrix_hash | sort -u | wc -l)"
check "busbw of a uniform exchange is 3/4 of algbw" every_record "$json" record=exchange style=padded phase=dispatch -- \
    busbw_GBps algbw_GBps :: '($1 / $2 - 0.75) ^ 2 < 1e-10'
check "bandwidth is bytes over the median" every_record "$json" record=exchange style=padded phase=dispatch -- \
    algbw_GBps median_us bytes.logical :: '($1 * $2 * 1e3 / ($3 / 4) - 1) ^ 2 < 1e-8'
check "from 6 repetitions on there is an interval, and not yet a p99" every_record "$json" record=exchange -- \
    reps ci_low_us ci_high_us median_us p99_us converged :: \
    '$1 < 6 ? $2 == "-" && $3 == "-" : $2 <= $4 && $4 <= $3 && $5 == "-" && ($6 == "true" || $6 == "false")'
check "the slowest rank is one of them" every_record "$json" record=exchange -- slowest_rank :: '$1 >= 0 && $1 < 4'
check "the run tells where it ran" every_record "$json" record=run -- \
    ranks nodes hosts transport topology env check layout.ep device :: \
    '$1 == 4 && $2 == 1 && $3 == 4 && $4 != "-" && $5 != "-" && $6 != "-" && $7 == "full" && $8 == 4 && $9 != "-"'
check "--raw keeps every repetition, warm-up too" same \
    "$(records "$json" record=exchange -- style algorithm phase warmup reps)" \
    "$(records "$json" record=raw -- style algorithm phase warmup_us times_us)"
check "--per-rank has a record for each rank of each phase" record_count "$json" $((4 * 51)) record=rank \
    and every_record "$json" record=rank -- rank host median_us wait_us slowest_count reps :: \
    '$1 < 4 && $2 != "-" && $3 > 0 && $4 >= 0 && $5 <= $6'
check "--per-rank shows them too" printed '^    rank 3 '
check "and says of each exchange of rows who takes long, or that nobody does" same 9 \
    "$(records "$json" record=finding phase=dispatch -- style algorithm | sort -u | wc -l)" and printed '^slow ' and \
    every_record "$json" record=finding -- evidence phase :: '$1 == "ranks" && $2 ~ /^(permute|dispatch|combine|unpermute)$/'
check "CSV has a header, a line for each record, and as many fields in each" eval \
    'awk -F, "\$1 == \"record\" { fields = NF; next } NF != fields { bad = 1 } \$1 == \"exchange\" { lines++ } END { exit bad || lines != 51 }" "$work/layer.csv"'
every_field_is_described() {
    local field missing=0
    for field in $(records "$json" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described

# ---- What pattern counts is what layer sends ----
sent=$(records "$json" record=exchange algorithm=native phase=dispatch -- style bytes.useful bytes.padding matrix_hash)
combined=$(records "$json" record=exchange algorithm=native phase=combine -- style bytes.logical bytes.wire bytes.padding matrix_hash)
table=$(records "$json" record=run -- routing.hash load.cv load.rank_max_over_mean)
run pattern --ranks 4 "${case[@]}" --quiet --json -
cp "$work/out" "$work/pattern.jsonl"
check "pattern foretells the bytes of dispatch" same "$sent" \
    "$(records "$work/pattern.jsonl" phase=dispatch -- style bytes.useful bytes.padding matrix_hash)"
check "pattern foretells the bytes of combine" same "$combined" \
    "$(records "$work/pattern.jsonl" phase=combine -- style bytes.logical bytes.wire bytes.padding matrix_hash)"
check "pattern has the same routing table" same "$table" \
    "$(records "$work/pattern.jsonl" record=run -- routing.hash load.cv load.rank_max_over_mean)"

# ---- Numbers of ranks ----
# Some MPI libraries never yield a core that they wait on: many ranks on few cores are kept short.
for ranks in 2 3; do
    measure $ranks --model switch-base-8 --tokens 24 --hidden 128 --skew zipf:1.2 "${all[@]}"
    check "$ranks ranks, 8 experts, drops" sound and nine_rows
done
measure 5 --model switch-base-8 --tokens 24 --hidden 128 --skew zipf:1.2 --style exact --algorithm pairwise --max-reps 2
check "5 ranks, 8 experts, drops" sound and record_count "$json" 6 record=exchange
measure 8 --model switch-base-8 --tokens 24 --hidden 128 --style padded --algorithm linear --max-reps 2
check "8 ranks, 8 experts, drops" sound and record_count "$json" 5 record=exchange
measure 4 --experts 3 --top-k 2 --hidden 128 --tokens 16 --style exact,padded-max --algorithm native --max-reps 2
check "4 ranks, 3 experts: one rank holds none" sound and record_count "$json" 12 record=exchange
measure 4 --model olmoe-1b-7b --hidden 64 --tokens 16 --ep 2 --algorithm linear --max-reps 2
check "two groups of two ranks" sound and record_count "$json" 17 record=exchange and every_record "$json" record=run -- layout.ep layout.dp :: '$1 == 2 && $2 == 2'
run layer --model switch-base-8 --tokens 16 "${all[@]}" "${short[@]}" --quiet --json -
cp "$work/out" "$json"
if [ -n "$MPIRUN" ]; then
    check "started bare it is one rank" sound and nine_rows and every_record "$json" record=exchange phase=dispatch -- \
        bytes.wire bytes.useful :: '$1 == 0 && $2 > 0'
else
    check "built without MPI it says how to get it" refused_in_one_line 'apt-get install .*mpi'
fi

# ---- Without MPI: threads as ranks ----
loop() { # RANKS OPTION...
    local ranks=$1; shift
    run_loopback "$ranks" layer "${short[@]}" --quiet --json - "${all[@]}" "$@"; cp "$work/out" "$json"
}
for ranks in 1 2 3 5 7 8; do
    loop $ranks "${case[@]}" --capacity-factor 1
    check "loopback, $ranks ranks" sound and nine_rows
done
loop 4 "${case[@]}" --tokens 0
check "0 tokens: nothing is sent, nothing is wrong" sound and nine_rows and every_record "$json" record=exchange phase=dispatch -- \
    bytes.useful bytes.padding algbw_GBps :: '$1 == 0 && $2 == 0'
loop 5 --experts 3 --top-k 2 --hidden 64 --tokens 16
check "5 ranks, 3 experts: two ranks hold none" sound and nine_rows
loop 4 --experts 1 --top-k 1 --hidden 64 --tokens 16
check "one expert for all ranks" sound and nine_rows
loop 4 --experts 8 --top-k 1 --hidden 64 --tokens 32 --skew hot:1,1
check "one expert takes every token" sound and every_record "$json" record=run -- load.hottest_share :: '$1 == 1'
loop 2 --experts 5 --top-k 5 --hidden 64 --tokens 16
check "every token goes to every expert" sound
loop 3 --experts 8 --hidden 1 --tokens 16 --top-k 2
check "rows of one element" sound
for dtype in bf16 fp16 fp32 fp8; do
    loop 3 "${case[@]}" --hidden 200 --dtype $dtype
    check "$dtype on the wire" sound and every_record "$json" record=run -- model.dtype :: "\$1 == \"$dtype\""
done
loop 3 "${case[@]}" --dtype fp8 --combine-dtype fp16
check "fp8 there, fp16 back" sound and every_record "$json" record=exchange style=exact phase=combine -- bytes.useful :: \
    '$1 == 3 * 16 * 8 * 512'
loop 3 "${case[@]}" --dtype bf16 --combine-dtype fp8
check "bf16 there, fp8 back" sound
for drop in position probability random; do
    loop 3 "${case[@]}" --capacity-factor 0.5 --min-capacity 1 --drop $drop
    check "dropped tokens count as such in the check: $drop" sound and every_record "$json" record=run -- \
        capacity.drop_share :: '$1 > 0.1'
done
for gate in softmax noisy; do
    loop 3 "${case[@]}" --gate $gate --placement round-robin
    check "gate $gate, experts placed round-robin" sound
done
loop 3 --model switch-base-8 --hidden 64 --tokens 16 --gate gshard --top-k 2
check "gate gshard" sound
printf '2 2 2 2 0 0 0 0\n' >"$work/placement"
loop 3 --model switch-base-8 --hidden 64 --tokens 16 --placement "$work/placement"
check "a rank without experts, by a file" sound

# ---- The check, and output ----
loop 2 "${case[@]}" --check off
check "--check off: no errors are claimed" done_well and every_record "$json" record=exchange -- errors :: '$1 == "-"'
loop 2 "${case[@]}" --check sample
check "--check sample" sound and every_record "$json" record=run -- check :: '$1 == "sample"'
run_loopback 2 layer "${case[@]}" "${short[@]}" --quiet
check "--quiet prints nothing" done_well and lines_printed 0 and test ! -s "$work/err"
run_loopback 2 layer "${case[@]}" "${short[@]}" --json -
check "with --json - the table goes to stderr" done_well and not printed '^model ' and said '^exact +native +total'
run_loopback 2 layer "${case[@]}" "${short[@]}" --quiet --csv -
check "--csv - prints CSV and nothing else" done_well and printed '^record,style,algorithm,phase,' and not printed '^[{m]'
rm -f "$json"
printf '{"record":"run","schema":1,"cut' >"$json"
run_loopback 2 layer "${case[@]}" "${short[@]}" --quiet --json "$json"
sed -i 1d "$json"
check "a line cut off by an earlier run costs no record of this one" sound and record_count "$json" 1 record=run
loop 2 "${case[@]}" --style exact --algorithm linear
check "only what was asked for is run" record_count "$json" 6 record=exchange and \
    record_count "$json" 6 style=exact algorithm=linear
run_loopback 2 layer "${case[@]}" --style exact --warmup 2 --min-reps 300 --max-reps 300 --max-seconds 20 --quiet --json -
cp "$work/out" "$json"
check "300 repetitions have a p99" every_record "$json" record=exchange -- reps warmup p95_us p99_us median_us :: \
    '$1 == 300 && $2 == 2 && $4 >= $3 && $3 >= $5'
finish
