#!/bin/bash
# Every gate through a whole layer, every byte checked; and which gate a model gets.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/gates.jsonl
small=(--tokens 48 --hidden 64 --warmup 0 --min-reps 1 --max-reps 1 --quiet --json -)

for gate in softmax noisy sigmoid expert-choice hash sinkhorn; do
    run_loopback 4 layer --gate $gate --skew zipf:1.0 --experts 16 --top-k 3 --style all --ranks-per-node 2 "${small[@]}"
    cp "$work/out" "$json"
    check "$gate: no errors in any style" done_well and record_count "$json" 9 record=exchange phase=total \
        and every_record "$json" record=exchange -- errors :: '$1 == 0'
    run_loopback 4 layer --gate $gate --skew zipf:1.0 --experts 16 --top-k 3 --style exact,padded --capacity-factor 1 \
        --drop probability "${small[@]}"
    cp "$work/out" "$json"
    check "$gate: no errors where the lightest are dropped" done_well \
        and every_record "$json" record=exchange -- errors :: '$1 == 0'
done
run_loopback 3 iteration --gate expert-choice --experts 8 --layers 2 --expert-ffn 64 --compute none --overlap chunks:2 "${small[@]}"
check "expert-choice by chunks: each chunk is a batch of its own" done_well
run pattern --gate expert-choice --skew zipf:1.0 --experts 16 --top-k 2 --ranks 4 --tokens 1024 --quiet --json -
cp "$work/out" "$json"
check "expert-choice: even loads of 2 experts a token" every_record "$json" record=run -- load.max_over_mean :: '$1 < 1.01' \
    and every_record "$json" record=traffic style=exact phase=combine -- bytes.useful :: \
    '$1 <= 4 * 1024 * 2 * 8192 && $1 > 0.99 * 4 * 1024 * 2 * 8192'
for model in deepseek-v3 kimi-k2 llama4-scout; do
    run pattern --model $model --ranks 4 --tokens 16 --quiet --json -
    cp "$work/out" "$json"
    check "$model gets its published gate, sigmoid" every_record "$json" record=run -- routing.gate \
        routing.published_gate :: '$1 == "sigmoid" && $2 == "-"'
done

# ---- Redundant experts ----
eplb=(--placement eplb --skew zipf:1.2 --experts 16 --top-k 2)
run_loopback 4 layer "${eplb[@]}" --style all --ranks-per-node 2 --capacity-factor 1.25 "${small[@]}"
cp "$work/out" "$json"
check "eplb: no errors in any style" done_well and record_count "$json" 9 record=exchange phase=total \
    and every_record "$json" record=exchange -- errors :: '$1 == 0'
run pattern "${eplb[@]}" --ranks 4 --tokens 2048 --quiet --json -
cp "$work/out" "$json"
check "eplb: 4 redundant experts even ranks out, and the record says from what" every_record "$json" record=run -- \
    routing.experts_placed load.rank_max_over_mean routing.block_rank_max_over_mean :: '$1 == 20 && $2 < 1.15 && $3 > 1.3'
block=$(run pattern --skew zipf:1.2 --experts 16 --top-k 2 --ranks 4 --tokens 2048 --quiet --json -
    records "$work/out" record=run -- load.max_over_mean load.cv load.rank_max_over_mean)
check "eplb: loads of experts are those of blocks, and so is what it says of blocks" [ "$block" = \
    "$(records "$json" record=run -- load.max_over_mean load.cv routing.block_rank_max_over_mean)" ]
run pattern --workload rotating --placement eplb --ranks 4 --tokens 1024 --steps 2 --quiet --json -
cp "$work/out" "$json"
check "eplb: a hot rank that moves on meets the placement of the first step" \
    every_record "$json" record=run step=0 -- load.rank_max_over_mean :: '$1 < 1.2' \
    and every_record "$json" record=run step=1 -- load.rank_max_over_mean :: '$1 > 1.4'
run pattern --placement eplb:3 --ranks 4
check "refused: a number of redundant experts that does not divide" refused 'eplb:4'
run_loopback 2 iteration --placement eplb --compute none
check "refused: replicas in training" refused '--pass forward'
run_loopback 2 iteration --placement eplb --compute none --pass forward --layers 2 --expert-ffn 64 "${small[@]}"
check "replicas in a forward pass" done_well
finish
