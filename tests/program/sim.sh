#!/bin/bash
# The program on simulated networks: the same figures twice, checked, marked in every record; what cannot be is refused.
. tests/environment.sh
. tests/common/tap.sh

if ! command -v smpirun >/dev/null || [ ! -f "$BUILD/sim/moe-a2a" ]; then
    skip "no SimGrid, or \`make sim\` was not run" "the program runs on simulated networks"
    finish
    exit
fi
build_json_query || exit 1
json=$work/sim.jsonl
simulate() { keep_run tools/sim "$@"; }
refuse() { # STATEMENT EXPRESSION ARGUMENTS...: by tools/sim itself
    local statement=$1 expression=$2; shift 2
    simulate "$@"; check "$statement" ended_with 2 and test "$(wc -l <"$work/err")" = 1 and said "^tools/sim: .*$expression"
}
small=(layer --model deepseek-v3 --hidden 64 --tokens 2)
figures() { grep -v '"record":"run"' "$1"; } # the run has the time of day

simulate --platform fat-tree-64 --ranks 16 -- "${small[@]}" --style exact,hier --algorithm native,hierarchical --json "$json" --check full
check "16 ranks on two hosts are simulated, and every byte is right" done_well \
    and every_record "$json" record=exchange -- errors :: '$1 == 0' \
    and printed 'SIMULATED, nothing was measured: on fat-tree-64'
check "every record says that it is simulated, and its run on what" every_record "$json" -- simulated :: '$1 == "true"' \
    and every_record "$json" record=run -- platform simgrid nodes ranks :: '$1 == "fat-tree-64" && $2 ~ /^3/ && $3 == 2 && $4 == 16'
mv "$json" "$work/first.jsonl"
simulate --platform fat-tree-64 --ranks 16 -- "${small[@]}" --style exact,hier --algorithm native,hierarchical --json "$json" --check full
check "a second run has the same figures" cmp <(figures "$work/first.jsonl") <(figures "$json")
keep_run "$program" compare "$json" "$work/first.jsonl"
check "compare takes them, and says that they are no measurement" done_well and printed 'NOT MEASURED: of 1 runs 0 predicted, 1 simulated'

rm -f "$json"
simulate --platform torus-64 --ranks 8 --ranks-per-host 4 -- iteration --model mixtral-8x7b --hidden 64 --tokens 2 --measure-layers 1 \
    --compute model:1e9,1 --json "$json"
check "modelled compute passes in simulated time" done_well and every_record "$json" record=iteration -- time_ms.compute :: '$1 > 0'

rm -f "$json"
simulate --platform cluster-64 --ranks 9 -- "${small[@]}" --sync round-time --min-reps 3 --max-reps 3 --json "$json"
check "a common clock works in simulated time" done_well and every_record "$json" record=exchange -- errors :: '$1 == 0'

refuse "too few hosts" 'fat-tree-64 has 8 hosts, for 64 ranks' --platform fat-tree-64 --ranks 65 -- "${small[@]}"
refuse "no such platform" 'neither a file nor one of .*torus-64' --platform nowhere --ranks 2 -- "${small[@]}"
echo '<platform><zone' >"$work/bad.xml"
refuse "a broken platform" 'not a platform of SimGrid' --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
echo '<platform version="4.1"/>' >"$work/bad.xml"
refuse "a platform without hosts" 'no <host>' --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
sed 's/FAT_TREE/KNOT/' patterns/platforms/fat-tree-64.xml >"$work/bad.xml"
simulate --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
check "a platform that SimGrid refuses" ended_with 2 and said 'SimGrid refuses'
refuse "no ranks" '--ranks is missing' --platform torus-64 -- "${small[@]}"
refuse "0 ranks" 'from 1 to' --platform torus-64 --ranks 0 -- "${small[@]}"
refuse "arguments with blanks" 'blanks' --platform torus-64 --ranks 2 -- "${small[@]}" --json "a b"
refuse "a check without contents" 'leave --check out' --platform torus-64 --ranks 2 --fold -- "${small[@]}" --check full
simulate --platform torus-64 --ranks 2 -- iteration --model mixtral-8x7b --compute gemm
check "real compute is refused by one rank, with the remedy" ended_with 2 and said 'real compute takes no time.*give --compute gpu:NAME'
simulate --platform torus-64 --ranks 4 -- layer --style nonsense
check "bad options are refused once" ended_with 2 and test "$(grep -c nonsense "$work/err")" = 1
finish
