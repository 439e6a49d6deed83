#!/bin/bash
# Named workloads and sequences of steps, through the program.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/workloads.jsonl
small=(--tokens 64 --hidden 64 --warmup 0 --min-reps 1 --max-reps 1)
one_figure() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

# ---- What there is ----
run pattern --list --names
names=$(cat "$work/out")
check "names are listed one a line, and there are those of the documentation" done_well \
    and one_figure "$(echo "$names" | wc -l)" "$(ls patterns/workloads/*.json | wc -l)" \
    and printed '^balanced$' and printed '^node-pair$' and printed '^collapsed$'
run pattern --list
check "the table says what each isolates" done_well and printed '^incast  *all ranks send most'
documented() { for name in $names; do grep -q "^| \`$name\` |" docs/workloads.md || { echo "$name"; return 1; }; done; }
check "each has its line in the documentation" documented

# ---- Each of them, on 4 ranks, every byte checked ----
for name in $names; do
    run_loopback 4 layer --workload "$name" --style exact,padded-max --check full "${small[@]}" --quiet --json - --steps 2
    cp "$work/out" "$json"
    check "$name: no errors on 4 ranks at two steps" done_well \
        and every_record "$json" record=exchange phase=total -- errors step :: '$1 == 0 && $2 <= 1' \
        and every_record "$json" record=run -- routing.workload routing.skew step :: \
            "\$1 == \"$name\" && \$2 == \"workload:$name\""
done

# ---- What ranks and steps see ----
run pattern --workload ragged --ranks 4 --tokens 64 --quiet --json -
cp "$work/out" "$json"
check "ragged: 144 of 256 tokens are held" every_record "$json" record=traffic style=exact -- bytes.useful :: \
    '$1 == 144 * 2 * 8192' and every_record "$json" record=run -- routing.tokens_min routing.tokens_max :: \
    '$1 == 0 && $2 == 64'
run pattern --workload empty-rank --ranks 4 --tokens 1024 --quiet --json -
cp "$work/out" "$json"
check "empty-rank: 3 of 4 ranks have all of the load" every_record "$json" record=run -- load.rank.max_over_mean :: \
    '$1 > 1.3 && $1 < 1.4'
run pattern --workload neighbours --ranks 8 --ranks-per-node 1 --tokens 64 --style exact --quiet --json -
cp "$work/out" "$json"
check "neighbours: nothing stays with a rank" every_record "$json" record=traffic -- tiers.self tiers.inter_node :: \
    '$1 == 0 && $2 > 0'
run pattern --workload rail-aligned --ranks 8 --ranks-per-node 4 --experts 64 --tokens 64 --style exact --quiet --json -
cp "$work/out" "$json"
check "rail-aligned: everything goes to other nodes, none of which is supposed" every_record "$json" record=traffic -- \
    tiers.self tiers.intra_node :: '$1 == 0 && $2 == 0' \
    and every_record "$json" record=run -- routing.supposed_ranks_per_node :: '$1 == "-" || $1 == ""'
run pattern --workload rail-aligned --ranks 8 --experts 64 --tokens 64
check "where all ranks share a node, it says that nodes are supposed" done_well and printed 'nodes of 2 ranks are SUPPOSED'
run pattern --workload rotating --ranks 4 --tokens 256 --steps 4 --quiet --json -
cp "$work/out" "$json"
check "rotating: each of 4 steps has a run, a hash and traffic of its own" record_count "$json" 4 record=run \
    and one_figure "$(records "$json" record=run -- routing.hash | sort -u | wc -l)" 4 \
    and record_count "$json" 6 record=traffic step=3
check "the busiest rank moves on with the steps" one_figure \
    "$(records "$json" record=traffic style=exact phase=dispatch -- busiest_rank | tr '\n' ' ')" "0 1 2 3 "
check "mean and largest over the steps are recorded" record_count "$json" 3 record=steps \
    and every_record "$json" record=steps -- steps max mean figure :: '$1 == 4 && $2 >= $3 && $4 == "wire_bytes"'
run pattern --workload rotating --ranks 4 --tokens 256 --steps 4
under_heading() { # the last three columns end where their headings do
    awk '/ over 4 steps$/ { getline; head = $0; getline row
        exit !(length(row) == length(head) && match(head, /mean/) && substr(row, RSTART + 3, 2) ~ /^[0-9] $/) }' "$work/out"
}
check "and stand under their headings" done_well and under_heading
# ---- What a workload forbids does not happen ----
run pattern --model deepseek-v3 --ranks 64 --tokens 64 --placement round-robin --workload neighbours --style exact
check "groups of a gate that hold too few of the experts in reach are refused" refused '4 of 8 groups, in which as few as 4 of them are'
run pattern --model deepseek-v3 --ranks 64 --tokens 64 --placement round-robin --workload neighbours --gate softmax --style exact
check "without groups it goes" done_well
write() { printf '{"workload":1,"name":"mine","isolates":"x","source":"x",%s}\n' "$1" >"$work/mine.json"; }
write '"experts":{"law":"hot","heat":0,"hot":12,"where":"anywhere"},"ranks":[{"from":"rank 1","to":{"self":1}}]'
run pattern --workload "$work/mine.json" --experts 16 --top-k 2 --layers 6 --ranks 2 --tokens 64
check "experts that are never chosen, anywhere, and rules: a layer might leave a rank none" refused 'heat 0 are never chosen'
balance() { run pattern --workload "$work/mine.json" --experts 16 --top-k 2 --ranks 4 --tokens 256 --placement eplb --steps 2 --quiet --json -
    records "$work/out" record=run step=1 -- load.rank.max_over_mean load.rank_max_over_mean; }
hot='"experts":{"law":"hot","heat":8,"hot":2,"where":"anywhere"},"ranks":[{"to":{"all":1}}]'
write "$hot,\"tokens\":{\"by_step\":[1,1]}"; always=$(balance)
write "$hot,\"tokens\":{\"by_step\":[0,1]}"; later=$(balance)
check "experts are placed by the loads of the first step that has tokens" one_figure "$later" "$always"
run pattern --workload rotating --ranks 4 --tokens 256 --quiet --json -
check "without --steps nothing speaks of steps" not grep -q '"step' "$work/out"
run_loopback 2 iteration --workload burst --steps 4 --compute none --layers 2 --expert-ffn 64 "${small[@]}" --quiet --json -
cp "$work/out" "$json"
check "iterations of a burst: three steps of a quarter of the tokens, then all" done_well \
    and one_figure "$(records "$json" record=run -- routing.tokens_max | tr '\n' ' ')" "16 16 16 64 " \
    and record_count "$json" 1 record=steps figure=iteration_ms
run_loopback 4 alltoallv --pattern --workload incast "${small[@]}" --quiet --json -
cp "$work/out" "$json"
check "alltoallv exchanges a workload's matrix" done_well and every_record "$json" record=exchange -- errors :: '$1 == 0'

# ---- The same from anywhere ----
mkdir -p "$work/bare"
cp patterns/workloads/hot-rank.json "$work/bare/mine.json"
run pattern --workload "$work/bare/mine.json" --ranks 4 --tokens 64 --quiet --json -
mine=$(records "$work/out" record=run -- routing.hash)
run pattern --workload hot-rank --ranks 4 --tokens 64 --quiet --json -
check "a file and a name give the same routing" one_figure "$mine" "$(records "$work/out" record=run -- routing.hash)"
run_loopback 4 layer --workload hot-rank "${small[@]}" --style exact --quiet --json -
layer=$(records "$work/out" record=run -- routing.hash)
check "pattern foresees what ranks route" one_figure "$mine" "$layer"

# ---- What is refused ----
refuses() { local said=$1; shift; run "$@"; check "refused: ${*:2}" refused "$said"; }
refuses "no workload of that name; nearest: incast; there are: balanced" pattern --workload incats
refuses "give one of them" pattern --workload balanced --skew zipf:1
refuses "cross-rail" pattern --workload cross-rail --ranks 2
refuses "reach 2 experts" pattern --workload neighbours --ranks 8 --experts 8 --top-k 4
refuses "goes with --list" pattern --names
refuses "no such option" alltoallv --steps 2
refuses "not between|must be|between 1" pattern --steps 0
echo '{"workload":1,"name":"x","isolates":"y","source":"z","ranks":[{"to":{"al":1}}]}' >"$work/bad.json"
refuses "bad.json: ranks\[0\].to: 'al' is not one of: all" pattern --workload "$work/bad.json"
finish
