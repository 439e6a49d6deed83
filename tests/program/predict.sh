#!/bin/bash
# moe-a2a predict: whole iterations on a described machine, without any.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/predict.jsonl
machines=patterns/machines

predict() { run predict --quiet --json - "$@"; cp "$work/out" "$json"; }
of_style() { records "$json" style="$1" -- "$2"; }
number() { awk "BEGIN { exit !($1) }" || { echo "not so: $1"; return 1; }; }
refuse() { local expression=$1; shift; run predict "$@"; check "predict $* is refused" refused_in_one_line "$expression"; }

# ---- Machines that come along ----
for file in "$machines"/*.json; do
    name=$(basename "$file" .json)
    predict --machine "$file" --ranks 8 --tokens 64
    check "$name predicts, and says that it does" done_well and record_count "$json" 1 record=iteration \
        and every_record "$json" record=iteration -- predicted machine :: "\$1 == \"true\" && \$2 == \"$name\"" \
        and every_record "$json" record=run -- predicted machine :: "\$1 == \"true\" && \$2 == \"$name\""
    check "$name says where each of its constants is from" \
        test "$(grep -oE '"[a-zA-Z0-9_]+_(us|GBps|TFLOPs)": [^{]' "$file" | wc -l)" = 0
done

# ---- What it prints ----
ib=$machines/h800-ib.json
run predict --machine $ib --model deepseek-v3 --ranks 64 --tokens 128 --style exact,two-hop
check "the table says that it is predicted, and where most time goes" done_well and printed 'PREDICTED, nothing was run' \
    and printed 'predicted iteration ms' and printed '^exact +native .*(bandwidth|compute|latency|overhead|wait|memory)' \
    and printed '^Predicted: on 64 ranks, two-hop'
predict --machine $ib --model mixtral-8x7b --ranks 16 --tokens 256 --style all --algorithm all --skew zipf:1.0 --capacity-factor 1.25
check "every style by every algorithm" done_well and record_count "$json" 63 record=iteration
check "shares lie between 0 and 1, and parts are no more than the whole" every_record "$json" record=iteration -- \
    share.a2a share.serial share.exposed time_ms.iteration time_ms.compute time_ms.dispatch time_ms.combine :: \
    '$1 > 0 && $1 < 1 && $2 >= $1 && $3 > 0 && $3 < 1 && $4 > $5 + $6 + $7'
check "the term that dominates is named, and no longer than the iteration" every_record "$json" record=iteration -- \
    dominating.ms time_ms.iteration :: '$1 > 0 && $1 <= $2'
check "best is no slower than any" number "$(records "$json" algorithm=best style=exact -- time_ms.iteration) <= \
    $(records "$json" style=exact record=iteration -- time_ms.iteration | sort -g | head -1) * 1.000001"
run compare "$json" "$json"
check "records can be read again" done_well
predict --machine $ib --ranks 8 --tokens 64 --pass training --dp 2 --ep 4
check "replicas sum gradients" done_well and every_record "$json" record=iteration -- time_ms.allreduce :: '$1 > 0'
predict --machine $ib --ranks 8 --tokens 64 --overlap chunks:4
check "overlap leaves serial unknown" done_well and every_record "$json" record=iteration -- overlap share.exposed :: \
    '$1 == "chunks:4" && $2 > 0' and not grep -q '"serial"' "$json"
for odd in "--ranks 1" "--tokens 0" "--experts 1 --top-k 1" "--ranks 5" "--compute none" "--compute gpu:h100" \
    "--compute model:1e15,0.5" "--pass forward" "--measure-layers 0" "--dtype fp8" "--ranks 24 --ranks-per-node 4"; do
    # shellcheck disable=SC2086
    predict --machine $ib --style exact,padded,dedup --tokens 32 $odd
    check "predicts with $odd" done_well and record_count "$json" 3 record=iteration
done

# ---- Any scale ----
predict --machine $ib --model deepseek-v3 --ranks 4096 --style padded,exact,dedup,two-hop
check "4096 ranks are predicted from some of them, and the record says from how many" done_well \
    and every_record "$json" record=run -- routing.routed_ranks :: '$1 == 128' and not grep -q '"hash"' "$json"
check "a token that travels once to a node costs less than once to a rank, and than padding" \
    number "$(of_style two-hop time_ms.dispatch) <= 1.05 * $(of_style exact time_ms.dispatch) && $(of_style exact time_ms.dispatch) < $(of_style padded time_ms.dispatch)"

# ---- Sweeps ----
predict --machine $ib --tokens 64 --sweep ranks=8:64:2
check "ranks by a factor" done_well and [ "$(records "$json" record=run -- ranks | tr '\n' ' ')" = "8 16 32 64 " ]
predict --machine $ib --tokens 64 --sweep capacity-factor=1:2:+0.5
check "a factor by steps" done_well and [ "$(records "$json" record=run -- sweep | tr '\n' ' ')" = \
    "capacity-factor=1 capacity-factor=1.5 capacity-factor=2 " ]
predict --machine $ib --tokens 256 --experts 64 --top-k 8 --sweep top-k=1,2,4
check "a list" done_well and [ "$(records "$json" record=run -- model.top_k | tr '\n' ' ')" = "1 2 4 " ] \
    and number "$(records "$json" record=iteration -- time_ms.dispatch | tr '\n' ' ' | awk '{ print ($1 < $2 && $2 < $3) }')"
predict --machine $ib --tokens 64 --sweep skew=zipf:0,hot:1,0.9,balanced
check "skews with commas of their own" done_well and [ "$(records "$json" record=run -- routing.skew | tr '\n' ' ')" = \
    "zipf:0 hot:1,0.9 balanced " ]
predict --sweep machine=$ib,$machines/a100.json --tokens 64
check "machines" done_well and [ "$(records "$json" record=run -- machine | tr '\n' ' ')" = "h800-ib a100 " ]

refuse '--sweep .*NAME=VALUES' --machine $ib --sweep ranks
refuse '--sweep rank:.*nearest: ranks' --machine $ib --sweep rank=1,2
refuse '--sweep json: is no option' --machine $ib --sweep json=a,b
refuse '--sweep.*never ends' --machine $ib --sweep ranks=8:64:1
refuse '--sweep.*never ends' --machine $ib --sweep ranks=64:8:2
refuse '--sweep.*never ends' --machine $ib --sweep ranks=8:64:+0
refuse '--sweep.*no range' --machine $ib --sweep ranks=8:64
refuse '--sweep.*1000 values' --machine $ib --sweep ranks=1:100000:+1
refuse '--sweep ranks: an empty' --machine $ib --sweep ranks=8,,16
refuse '--sweep, at --top-k=9' --machine $ib --ranks 2 --sweep top-k=1,9
refuse '--sweep, at --ranks=12: --ep' --machine $ib --ep 8 --sweep ranks=8,12
refuse '--sweep, at --ranks=32.*1 nodes' --machine $machines/4090.json --sweep ranks=8,32

# ---- Calibration ----
run_loopback 4 layer --tokens 64 --max-reps 6 --warmup 1 --style exact,padded --algorithm native,pairwise --skew zipf:1.0 \
    --json "$work/layer.jsonl" --quiet
run predict --machine $ib --fit "$work/layer.jsonl" -o "$work/mine.json"
check "a description is fitted to measured exchanges, and states how well" done_well \
    and printed '^8 exchanges, 0 left out' and printed '^fitted: deviation [0-9.]+ % at the median' and printed '^as described: deviation' and printed 'not crossed by any' \
    and grep -q 'fitted to 8 exchanges' "$work/mine.json"
predict --machine "$work/mine.json" --ranks 4 --tokens 64
check "and predicts" done_well and every_record "$json" record=run -- machine :: '$1 == "h800-ib-fitted"'
run predict --machine $ib --fit "$work/layer.jsonl" --quiet
check "without -o it goes to stdout" done_well and printed '"name": "h800-ib-fitted"' and test ! -s "$work/err"
sed 's/"skew":"zipf:1.0"/"skew":"uniform"/' "$work/layer.jsonl" >"$work/edited.jsonl"
run predict --machine $ib --fit "$work/edited.jsonl" -o "$work/edited.json"
check "records of another routing than they say are left out" done_well and printed '4 left out \(routing cannot be rebuilt'
predict --machine $ib --ranks 4 --tokens 64; cp "$json" "$work/predicted.jsonl"
rm -f "$work/steps.jsonl"
keep_run "$program" layer --transport loopback --ranks 8 --ranks-per-node 8 --model switch-base-8 --tokens 64 --skew zipf:1.0 --steps 3 \
    --style exact --min-reps 1 --max-reps 1 --warmup 0 --quiet --json "$work/steps.jsonl"
run predict --machine $ib --fit "$work/steps.jsonl" -o "$work/steps.json"
check "so are exchanges of several steps, each with the routing of its step" done_well and printed '^6 exchanges, 0 left out'
refuse '--fit .*no exchange' --machine $ib --fit "$work/predicted.jsonl"
refuse '--fit needs --machine' --fit "$work/layer.jsonl"
refuse 'cannot open|No such file' --machine $ib --fit "$work/nothing.jsonl"
refuse '--output .*nowhere' --machine $ib --fit "$work/layer.jsonl" -o /nowhere/mine.json --quiet

# ---- What cannot be ----
refuse '--machine is missing' --ranks 8
refuse '--machine: no file' --machine h8OO-ib.json
refuse '4090 has 1 nodes of 8' --machine $machines/4090.json --ranks 16
refuse '--compute gemm: nothing is run' --machine $ib --compute gemm
refuse '--sample-tokens' --machine $ib --sample-tokens 0
refuse '--output: is for --fit' --machine $ib -o x
refuse 'style two-hop goes by nodes' --machine $ib --ranks 12 --style two-hop
refuse 'no such option' --machine $ib --threads 2
# ---- The machine as a simulated platform ----
counted() { # NUMBER EXPRESSION: in $work/out
    [ "$(grep -c "$2" "$work/out")" = "$1" ]
}
run predict --machine $ib --ranks 20 --platform -
check "a platform has a host for each rank, told its node, with two ports of its own" done_well and counted 20 '<host id="rank-' \
    and counted 4 'value="node-2"' and counted 80 '<link id="tier-' and counted 3 '<zone id="group-'
run predict --machine 2080ti --ranks 8 --platform -
check "ports that four ranks share are there once" done_well and counted $((2 * 8 + 2 * 2)) '<link id="tier-'
sed 's/"name": "h800-ib"/"name": "a \\"<--> \&b"/' $ib >"$work/named.json"
run predict --machine "$work/named.json" --ranks 2 --platform "$work/named.xml"
well_formed() { "$(tools/find-python)" -c 'import sys, xml.etree.ElementTree as t; t.parse(sys.argv[1])' "$1"; }
if tools/find-python >/dev/null 2>&1; then
    check "any name of a machine leaves it well-formed" done_well and well_formed "$work/named.xml"
else
    skip "no Python" "any name of a machine leaves it well-formed"
fi
run predict --machine $ib --ranks 2 --platform /nowhere/x.xml
check "a folder that is not there is refused" refused_in_one_line '--platform /nowhere/x.xml'
sed 's/"tiers": \[/&{"name": "pair", "ranks": 2, "latency_us": 1, "overhead_us": 0, "bandwidth_GBps": 900},/' $ib >"$work/three.json"
run predict --machine "$work/three.json" --ranks 8 --platform "$work/three.xml"
check "three tiers are refused, and nothing is written" refused_in_one_line 'has 3 tiers' and test ! -e "$work/three.xml"
run predict --machine $ib --ranks 100000 --platform -
check "so are too many ranks" refused_in_one_line 'at most 65536'
for other in '--sweep ranks=2:4:2' "--json $work/x.jsonl" "--fit results/lab-predict.jsonl" '-o x'; do
    # shellcheck disable=SC2086
    run predict --machine $ib --platform - $other
    check "$other beside it is refused" refused_in_one_line '--platform writes the machine, and nothing else'
done

bad() { # EXPRESSION SED: the description of a machine, changed
    sed -E "$2" $ib >"$work/bad.json"
    run predict --machine "$work/bad.json" --ranks 8
    check "a description with $2 is refused" refused_in_one_line "bad.json.*$1"
}
bad 'schema' 's/"schema": 1/"schema": 2/'
bad 'name' 's/"name": "h800-ib",//'
bad 'ranks_per_node: 0 is not between' 's/"ranks_per_node": 8/"ranks_per_node": 0/'
bad 'ranks_per_node: 1.5 is no whole' 's/"ranks_per_node": 8/"ranks_per_node": 1.5/'
bad 'memory_GBps: missing' '/memory_GBps/d'
bad 'memory_GBp: no such field; nearest: memory_GBps' 's/memory_GBps/memory_GBp/'
bad 'tiers\[0\].bandwidth_GBps: -200' 's/"value": 200/"value": -200/'
bad 'tiers\[0\].bandwidth_GBps: is no number' 's/"value": 200/"value": "200"/'
bad 'tiers\[0\].bandwidth_GBps: its source' 's/("value": 200), "source": "[^"]*"/\1/'
bad 'tiers\[0\].ranks' 's/"ranks": 8,//'
bad 'tiers\[0\].name' 's/"name": "NVLink"/"name": ""/'
bad 'compute.efficiency: 8 is not' 's/"value": 0.8, "source": "788/"value": 8, "source": "788/'
bad ':[0-9]+:[0-9]+: ' 's/"tiers": \[/"tiers": /'
bad 'duplicate' 's/"schema": 1,/"schema": 1, "schema": 1,/'
: >"$work/bad.json"; run predict --machine "$work/bad.json"; check "an empty description is refused" refused_in_one_line bad.json
head -c 100000 /dev/urandom >"$work/bad.json"; run predict --machine "$work/bad.json"; check "noise is no description" refused_in_one_line bad.json
mkdir "$work/folder"; run predict --machine "$work/folder"; check "a folder is no description" refused_in_one_line folder
sed '/TFLOPs/d' $ib >"$work/bad.json"; run predict --machine "$work/bad.json" --ranks 8
check "a machine without a rate of compute asks for one" refused_in_one_line 'tells no rate of bf16'
finish
