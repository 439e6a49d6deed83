#!/bin/bash
# moe-a2a iteration: whole iterations, the phases that make them up, and the share that is communication.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/iteration.jsonl
# A model so narrow that a whole iteration takes milliseconds; every second of its layers is MoE.
narrow=(--model switch-base-8 --hidden 64 --tokens 32)
short=(--warmup 1 --max-reps 10 --max-seconds 1)

same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
number() { awk "BEGIN { exit !($1) }" || { echo "not so: $1"; return 1; }; }
field() { records "$json" record=iteration -- "$@"; }
measure() { # RANKS OPTION...: under MPI where there is one
    local ranks=$1; shift
    rm -f "$json"
    if [ -n "$MPIRUN" ]; then
        run_ranks "$ranks" iteration "${short[@]}" --json "$json" "$@"
    else
        run_loopback "$ranks" iteration "${short[@]}" --json "$json" "$@"
    fi
}
loop() { # RANKS OPTION...: threads as ranks
    local ranks=$1; shift
    run_loopback "$ranks" iteration "${short[@]}" --json "$json.new" "$@"; mv "$json.new" "$json"
}
# What holds of every run.
sound() {
    done_well && every_record "$json" record=iteration -- errors share.a2a share.serial reps \
        time_ms.iteration time_ms.compute max_ms.iteration :: \
        '$1 == 0 && $2 >= 0 && $2 <= 1 && $3 >= $2 && $3 <= 1 && $4 > 0 && $5 > 0 && $6 >= 0 && $7 >= $5'
}
# parts_add_up SHARE: how far the sum of the parts may be off the iteration
parts_add_up() {
    every_record "$json" record=iteration -- time_ms.iteration time_ms.compute time_ms.metadata time_ms.permute \
        time_ms.dispatch time_ms.combine time_ms.allreduce :: "((\$2 + \$3 + \$4 + \$5 + \$6 + \$7) / \$1 - 1) ^ 2 <= $1 ^ 2"
}
# up_to_three STATEMENT FUNCTION: for what noise can upset; a fault would upset it each time
up_to_three() {
    local statement=$1; shift
    if "$@" >/dev/null 2>&1 || "$@" >/dev/null 2>&1; then
        check "$statement" true
    else
        check "$statement" "$@"
    fi
}

# ---- The case that people run ----
real_compute() {
    measure 2 "${narrow[@]}" --layers 4 --style exact,padded --pass training --compute gemm --check full \
        --max-reps 30 --max-seconds 1 && parts_add_up 0.001
}
if "$program" info | grep -q 'no GEMMs'; then
    gemm=none
    skip "no BLAS here" "real GEMMs: the phases add up to the iteration"
else
    gemm=gemm
    up_to_three "real GEMMs: the phases add up to the iteration" real_compute
fi

measure 4 "${narrow[@]}" --layers 4 --style exact,padded --algorithm linear --compute $gemm --raw --per-rank --csv "$work/csv"
check "4 ranks, two styles: shares lie between 0 and 1, every element is right" sound and \
    record_count "$json" 2 record=iteration
check "only exact has metadata to exchange" every_record "$json" record=iteration -- style time_ms.metadata :: \
    '($1 == "exact") == ($2 != "-")'
check "without replicas there is no all-reduce" every_record "$json" record=iteration -- time_ms.allreduce :: '$1 == "-"'
check "the table shows each style and answers in a sentence" printed '^exact +linear' and \
    printed '^On 4 ranks, padded dispatch and combine \(linear\) take .* % of a training iteration'
check "intervals hold their medians" every_record "$json" record=iteration -- \
    reps ci.a2a_low share.a2a ci.a2a_high ci.serial_low ci.iteration_ms_high :: \
    '$1 < 6 ? $2 == "-" : $2 <= $3 && $3 <= $4 && $5 != "-" && $6 > 0'
check "--raw keeps every repetition" same "$(records "$json" record=iteration -- style warmup reps)" \
    "$(records "$json" record=raw -- style warmup_us times_us)"
check "--per-rank has a record for each rank" record_count "$json" 8 record=rank and printed '^    rank 3 '
check "CSV has a header, a line for each record, and as many fields in each" eval \
    'awk -F, "NR > 1 && NF != fields { exit 1 } { fields = NF } END { exit NR != 3 }" "$work/csv"'
every_field_is_described() {
    local field missing=0
    for field in $(records "$json" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described

# ---- Modelled compute ----
# Waiting is exact where the machine is not: the parts add up, and the share follows the rate.
modelled() { # FLOPS
    loop 2 --model switch-base-8 --tokens 64 --layers 4 --style exact --compute "model:$1,0.5" --max-reps 7 --max-seconds 3
}
adds_up_modelled() { modelled 1e12 && sound && parts_add_up 0.001; }
up_to_three "modelled compute: the phases add up" adds_up_modelled
share_rises() {
    local slow
    modelled 1e12; slow=$(field share.a2a)
    modelled 2e12
    number "$(field share.a2a) > $slow"
}
up_to_three "compute twice as fast: the share of communication rises" share_rises
check "the record and the table say that compute was modelled" every_record "$json" record=iteration -- \
    compute :: '$0 ~ /modelled/' and printed '^compute .*modelled'
compute_halves() {
    local slow
    modelled 5e11; slow=$(field time_ms.compute)
    modelled 1e12
    number "$slow / $(field time_ms.compute) > 1.9 && $slow / $(field time_ms.compute) < 2.1"
}
up_to_three "compute twice as fast takes half the time" compute_halves
loop 2 "${narrow[@]}" --layers 4 --compute gpu:h100
check "the rate of a published GPU" sound and printed '^compute .*modelled'
loop 2 "${narrow[@]}" --layers 4 --compute none
check "without compute nearly all is communication" sound and every_record "$json" record=iteration -- share.a2a :: '$1 > 0.2'

# ---- Passes, replicas ----
pass_ratio() {
    local forward
    loop 2 --model switch-base-8 --tokens 64 --layers 4 --compute model:1e12,0.5 --pass forward --max-reps 7
    forward=$(field time_ms.compute)
    modelled 1e12
    number "$(field time_ms.compute) / $forward > 2.8 && $(field time_ms.compute) / $forward < 3.2"
}
up_to_three "training computes three times what forward does" pass_ratio
loop 2 "${narrow[@]}" --layers 4 --compute none --pass forward
check "--pass forward is recorded and printed" sound and every_record "$json" record=iteration -- pass :: \
    '$1 == "forward"' and printed 'of a forward iteration'
measure 4 "${narrow[@]}" --layers 4 --compute none --dp 2 --max-reps 3
check "two replicas add the all-reduce of gradients to the serial share" sound and every_record "$json" record=iteration -- \
    time_ms.allreduce share.serial share.a2a :: '$1 > 0 && $2 > $3'
check "the layout is two groups of two" every_record "$json" record=run -- layout.ep layout.dp :: '$1 == 2 && $2 == 2'
loop 2 "${narrow[@]}" --layers 4 --compute none --dp 2 --pass forward
check "a forward pass has no gradients to reduce" sound and every_record "$json" record=iteration -- \
    time_ms.allreduce :: '$1 == "-"'

# ---- Layers ----
loop 2 "${narrow[@]}" --compute none
check "2 of 12 MoE layers are measured, the rest is extrapolated, and record and print say so" sound and \
    every_record "$json" record=iteration -- layers extrapolated_from_layers :: '$1 == 24 && $2 == 3' and \
    printed '^measured +2 of 12 MoE layers.*EXTRAPOLATED'
loop 2 "${narrow[@]}" --compute none --measure-layers 0
check "--measure-layers 0 runs all 24, and nothing is extrapolated" sound and \
    every_record "$json" record=iteration -- extrapolated_from_layers :: '$1 == "-"' and not printed EXTRAPOLATED
loop 2 "${narrow[@]}" --compute none --measure-layers 5
check "--measure-layers 5" sound and every_record "$json" record=iteration -- extrapolated_from_layers :: '$1 == 6'
hash_of() { loop 2 "${narrow[@]}" --compute none --measure-layers "$1"; records "$json" record=run -- routing.hash; }
check "each layer routes in its own way: the hash is of all of them" number "$(printf '%d' "0x$(hash_of 1 | cut -c1-7)") != \
    $(printf '%d' "0x$(hash_of 2 | cut -c1-7)")"
loop 2 --model deepseek-v2-lite --hidden 64 --layers 4 --tokens 8 --compute $gemm --max-reps 3
check "first layer dense, shared experts, latent attention" sound and printed '^measured +2 of 3 MoE layers, 1 of 1 dense'
loop 2 --model arctic --hidden 64 --layers 2 --tokens 8 --compute $gemm --max-reps 3
check "a dense FFN beside the experts of every layer" sound
loop 3 "${narrow[@]}" --layers 2 --tokens 0 --compute $gemm --max-reps 3
check "0 tokens" done_well and every_record "$json" record=iteration -- errors reps :: '$1 == 0 && $2 > 0'
loop 3 "${narrow[@]}" --layers 4 --compute $gemm --dtype fp8 --capacity-factor 1 --skew zipf:1.2 --max-reps 3
check "fp8, drops, a skew, three ranks for eight experts" sound
loop 4 --model switch-base-8 --hidden 64 --tokens 8 --layers 4 --experts 2 --compute $gemm --max-reps 3
check "ranks without experts" sound

# ---- Overlap ----
# What holds of a run whose exchanges overlap: what is exchanged in all is not known, what is exposed is.
overlapped() {
    done_well && every_record "$json" record=iteration -- errors share.exposed share.serial overlap reps :: \
        '$1 == 0 && $2 >= 0 && $2 <= 1 && $3 == "-" && $4 == "chunks:3" && $5 > 0' && parts_add_up 0.001
}
up_to_three_overlapped() {
    measure 3 "${narrow[@]}" --layers 4 --compute $gemm --style exact,dedup,two-hop --ranks-per-node 1 --overlap chunks:3 \
        --algorithm native,linear --check full && overlapped
}
up_to_three "three chunks of a layer overlap, in three styles, whether the algorithm can wait or not" up_to_three_overlapped
check "the table says that parts are waits, and answers with the exposed share" printed '^overlap +3 chunks' and \
    printed 'overlapped with experts in 3 chunks, leave .* exposed'
whole_hash() { loop 2 "${narrow[@]}" --layers 4 --compute none --overlap "$1"; records "$json" record=run -- routing.hash; }
check "chunks route as the whole does" same "$(whole_hash none)" "$(whole_hash chunks:5)"
loop 3 "${narrow[@]}" --layers 4 --compute $gemm --capacity-factor 1 --skew zipf:1.2 --tokens 7 --overlap chunks:4 --max-reps 3
check "chunks of one and of two tokens, with drops" done_well and every_record "$json" record=iteration -- errors :: '$1 == 0'
# How much is hidden is the machine's: it is not judged here.
measure 2 --model switch-base-8 --tokens 64 --layers 4 --compute model:1e12,0.5 --overlap chunks:3 --max-reps 7
check "modelled compute overlaps with exchanges too" overlapped

run iteration "${narrow[@]}" --layers 4 --compute $gemm "${short[@]}" --quiet --json -
cp "$work/out" "$json"
if [ -n "$MPIRUN" ]; then
    check "started bare it is one rank" sound
else
    check "built without MPI it says how to get it" refused_in_one_line 'apt-get install .*mpi'
fi
finish
