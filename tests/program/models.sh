#!/bin/bash
# moe-a2a models, info and help: presets, and the arithmetic of published shapes.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/models.jsonl

run models
check "models lists every preset on a line of its own" done_well and lines_printed 25
for name in mixtral-8x7b mixtral-8x22b qwen3-235b-a22b deepseek-v3 kimi-k2 gpt-oss-120b olmoe-1b-7b \
    switch-base-8 gshard-600b; do
    check "models lists $name" printed "^$name "
done
totals_are_as_published() {
    awk 'NR > 1 && $9 != "-" { off = $8 / $9 - 1; if (off > .035 || off < -.035) { print; bad = 1 } seen++ }
         END { exit bad || seen < 20 }' "$work/out"
}
check "no preset's total is more than 3.5 % off the published one" totals_are_as_published

run models --json - --quiet
cp "$work/out" "$json"
check "models --json - --quiet prints records and nothing else" record_count "$json" 24 record=model

# deepseek-ai/DeepEP: a bf16 token of DeepSeek-V3 is 14336 B; its fp8 form carries 56 scales of 4 B.
run models deepseek-v3
check "a bf16 token of deepseek-v3 is 14336 B" printed '14336 B bf16'
check "an fp8 token of deepseek-v3 is 7168 + 56 * 4 B" printed '7392 B fp8'
check "deepseek-v3 has 671 B parameters" printed 'total = 67[01]\.[0-9]+ B'
check "its attention is described as MLA" printed '^attention +MLA, 128 heads'
run models qwen3-235b-a22b
check "a bf16 token of qwen3-235b-a22b is 8192 B" printed '8192 B bf16'

# Embedding, attention, experts and active experts of Mixtral 8x7B, as a published lecture sums them.
run models mixtral-8x7b
for sum in 131072000 1342177280 45097156608 11274289152; do
    check "mixtral-8x7b holds the published sum $sum" printed "(^| )$sum( |$)"
done
check "its FLOP are stated for a sequence length" printed 'per token, sequence 4096'
run models mixtral-8x7b --seq-len 8K
check "--seq-len changes that" printed 'per token, sequence 8192'

run models mixtral-8x7b --json - --quiet
cp "$work/out" "$json"
check "the record of one preset holds the same figures, digit by digit" every_record "$json" -- \
    name token_bytes.bf16 parameters.experts parameters.experts_active schema :: \
    '$1 == "mixtral-8x7b" && $2 == 8192 && $3 == 45097156608 && $4 == 11274289152 && $5 == 1'

for wrong in mixtral-8x7 mixtral8x7b MIXTRAL-8x7B mixtrel-8x7b; do
    run models $wrong
    check "$wrong is refused, and mixtral-8x7b named as near" refused_in_one_line 'nearest: .*mixtral-8x7b'
done
run models ''
check "an empty name is refused" refused_in_one_line
run models no-such-model-at-all
check "a name near to none is refused all the same" refused_in_one_line no-such-model-at-all
run models mixtral-8x7b dbrx
check "a second name is refused" refused_in_one_line dbrx

run --help
for command in layer iteration pattern models info; do
    check "--help names $command" done_well and printed "^  $command "
done
for command in layer iteration pattern models info; do
    run $command --help
    check "$command --help prints its usage and runs nothing" done_well and printed "^Usage: .*$command" \
        and not printed '^(model|moe-a2a) '
done
run iteration --help
check "iteration --help tells options and their defaults" printed '--max-seconds=' and printed 'default: 1024'
run --version
check "--version is one line" done_well and lines_printed 1 and printed '^moe-a2a [0-9]'
run
check "no command at all is an error that shows the commands" ended_with 2 and said '^  iteration'
run layr
check "an unknown command names the nearest" refused_in_one_line 'nearest: layer'
run info
check "info tells transports, devices, styles and algorithms" done_well \
    and printed '^transports .*loopback' and printed '^devices .*host' \
    and printed '^styles .*padded padded-max exact' and printed '^algorithms .*native linear pairwise'
finish
