#!/bin/bash
# moe-a2a pattern: routing, capacity and traffic by counting, in one process.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/pattern.jsonl

# pattern OPTION...: leaves the records in $json
pattern() { run pattern --quiet --json - "$@"; cp "$work/out" "$json"; }
field() { records "$json" record=run -- "$@"; } # of the run
loads() { field routing.hash load.max_over_mean load.cv load.gini load.hottest_share; }
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
differ() { [ "$1" != "$2" ] || { echo "both are '$1'"; return 1; }; }
number() { awk "BEGIN { exit !($1) }" || { echo "not so: $1"; return 1; }; }

# ---- A case of a published size ----
zipf=(--model mixtral-8x7b --skew zipf:1.2 --seed 7)
pattern "${zipf[@]}" --ranks 8 --tokens 1024 --capacity-factor 1.25
cp "$json" "$work/first.jsonl"
check "it prints one run and both directions of three styles" done_well \
    and record_count "$json" 1 record=run and record_count "$json" 6 record=traffic \
    and record_count "$json" 2 style=padded and record_count "$json" 2 style=padded-max \
    and record_count "$json" 2 style=exact
check "the run holds its command line, load, capacity and hash" every_record "$json" record=run -- \
    schema command.1 routing.hash load.max_over_mean load.gini load.hottest_share capacity.drop_share :: \
    '$1 == 1 && $2 == "pattern" && length($3) == 16 && $4 > 1 && $5 > 0 && $6 < 1 && $7 > 0'
check "slots of an expert are ceil(1024/8 * 2 * 1.25) = 320" every_record "$json" record=run -- \
    capacity.slots capacity.factor :: '$1 == 320 && $2 == 1.25'
check "padding share is 1 - (1 - drop share) / factor" every_record "$json" record=run -- \
    capacity.padding_share capacity.drop_share :: '($1 - (1 - (1 - $2) / 1.25)) ^ 2 < 1e-12'
pattern "${zipf[@]}" --ranks 8 --tokens 1024 --capacity-factor 1.25
check "asked twice it says the same" \
    same "$(sed 's/"time":"[^"]*"//' "$json")" "$(sed 's/"time":"[^"]*"//' "$work/first.jsonl")"

loads_of_8=$(loads)
pattern "${zipf[@]}" --ranks 4 --tokens 2048 --capacity-factor 1.25
check "4 ranks of 2048 tokens route as 8 ranks of 1024 do" same "$(loads)" "$loads_of_8"
pattern "${zipf[@]}" --ranks 4 --tokens 2048
check "so they do without a capacity" same "$(loads)" "$loads_of_8"
pattern "${zipf[@]}" --ranks 1 --tokens 8192
check "so does a single rank" same "$(loads)" "$loads_of_8"
pattern "${zipf[@]}" --ranks 8 --ep 2 --tokens 1024
check "so do 4 replicas of 2 ranks" same "$(loads)" "$loads_of_8"
pattern "${zipf[@]}" --ranks 8 --tokens 1024 --placement round-robin
check "so do experts that sit elsewhere" same "$(loads)" "$loads_of_8"
pattern "${zipf[@]}" --seed 8 --ranks 8 --tokens 1024
check "another seed routes differently" differ "$(field routing.hash)" "${loads_of_8%% *}"

# ---- What the bytes of styles have to do with each other ----
pattern "${zipf[@]}" --ranks 8 --tokens 1024 --ranks-per-node 2
check "rows of all tiers are the logical ones" every_record "$json" record=traffic -- \
    bytes.logical tiers.self tiers.intra_node tiers.inter_node metadata_bytes :: \
    '$1 == $2 + $3 + $4 + $5 && $4 > $3'
check "wire is what leaves a rank, and metadata" every_record "$json" record=traffic -- \
    bytes.wire tiers.intra_node tiers.inter_node metadata_bytes :: '$1 == $2 + $3 + $4'
pattern "${zipf[@]}" --ranks 2 --tokens 64 --capacity-factor 1.25
check "who sends to whom is not recorded where nobody asks" record_count "$json" 0 record=matrix
pattern "${zipf[@]}" --ranks 2 --tokens 64 --capacity-factor 1.25 --ranks-per-node 1 --per-pair
records "$json" record=matrix phase=dispatch -- matrix_hash bytes.0.0 bytes.1.1 bytes.0.1 bytes.1.0 | awk '{ print $1, $2 + $3, $4 + $5 }' >"$work/cells"
records "$json" record=traffic phase=dispatch -- matrix_hash tiers.self tiers.inter_node >"$work/tiers"
check "with --per-pair it is, for both directions of each style" record_count "$json" 6 record=matrix ranks=2 ranks_per_cell=1
check "and adds up to what the style sends, and keeps" test -s "$work/cells" and diff "$work/cells" "$work/tiers"
pattern "${zipf[@]}" --ranks 130 --experts 130 --tokens 4 --style exact --per-pair
check "beyond 64 ranks a cell holds several" record_count "$json" 2 record=matrix ranks=130 ranks_per_cell=3
pattern "${zipf[@]}" --ranks 8 --tokens 1024 --ranks-per-node 2
check "useful is 8192 tokens times 2 times 8192 B in every style" every_record "$json" record=traffic -- \
    bytes.useful :: '$1 == 8192 * 2 * 8192'
check "exact pads nothing" every_record "$json" style=exact -- bytes.padding :: '$1 == 0'
check "padded without a capacity has a slot for every token" every_record "$json" style=padded \
    phase=combine -- bytes.logical :: '$1 == 8 * 8 * 1024 * 8192'
wire() { records "$json" style="$1" phase=dispatch -- bytes.wire; }
check "padded needs no less wire than padded-max, padded-max no less than exact" \
    number "$(wire padded) >= $(wire padded-max) && $(wire padded-max) >= $(wire exact)"
check "only exact and padded-max exchange sizes" every_record "$json" phase=dispatch -- style metadata_bytes :: \
    '($1 == "padded") == ($2 == 0)'
pattern "${zipf[@]}" --ranks 1 --tokens 64
check "a single rank puts nothing on the wire" every_record "$json" record=traffic -- \
    bytes.wire tiers.self :: '$1 == 0 && $2 > 0'
pattern "${zipf[@]}" --ranks 8 --ep 4 --dp 2 --tokens 64 --ranks-per-node 4
check "groups of 4 ranks on nodes of 4 send nothing between nodes" every_record "$json" record=traffic -- \
    tiers.inter_node tiers.intra_node :: '$1 == 0 && $2 > 0'
pattern "${zipf[@]}" --ranks 4 --tokens 64 --dtype fp8
check "fp8 dispatch is 4096 + 32 * 4 B a row, and combine stays bf16" every_record "$json" record=traffic -- \
    phase bytes.useful :: '$2 == 4 * 64 * 2 * ($1 == "dispatch" ? 4224 : 8192)'

# ---- Layouts ----
for layout in "--ep 8" "--dp 1" "--ep 4" "--dp 4" "--ep 2 --dp 4" "--dp 8" "--ep 1"; do
    # shellcheck disable=SC2086
    pattern --ranks 8 --tokens 16 $layout
    check "8 ranks: $layout" done_well and every_record "$json" record=run -- layout.ep layout.dp :: '$1 * $2 == 8'
done
for shape in "--ranks 3 --experts 8" "--ranks 5 --experts 8" "--ranks 8 --experts 3 --top-k 2" \
    "--ranks 4 --experts 1 --top-k 1" "--ranks 7 --experts 7 --top-k 7" "--ranks 4 --tokens 0" "--ranks 1 --tokens 0"; do
    # shellcheck disable=SC2086
    pattern --tokens 32 $shape
    check "runs: $shape" done_well and record_count "$json" 6 record=traffic
done
echo "3 3 2 2 1 1 0 0" >"$work/placement"
pattern --ranks 4 --tokens 32 --placement "$work/placement"
check "experts sit where a file says" done_well
pattern --ranks 64 --experts 4 --top-k 1 --tokens 8
check "most of 64 ranks hold none of 4 experts" done_well and every_record "$json" record=run -- \
    load.rank_max_over_mean :: '$1 >= 16'

# ---- Popularity and gates ----
for gate in softmax switch gshard noisy; do
    top_k=2; [ $gate != switch ] || top_k=1
    for skew in balanced uniform zipf:1.0 hot:2,0.5 lognormal:1.5 dirichlet:0.3; do
        pattern --ranks 4 --tokens 128 --gate $gate --top-k $top_k --skew $skew
        check "$gate routes $skew" done_well and every_record "$json" record=run -- \
            routing.gate routing.skew load.max_over_mean :: "\$1 == \"$gate\" && \$2 == \"$skew\" && \$3 >= 1"
    done
done
pattern --ranks 4 --tokens 1024 --skew balanced
check "balanced loads are exactly equal" every_record "$json" record=run -- load.max_over_mean load.cv :: \
    '$1 == 1 && $2 == 0'
spread() { pattern --ranks 4 --tokens 1024 --skew "$1"; field load.cv; }
check "zipf:1.5 is more uneven than zipf:0.5, and that than uniform" \
    number "$(spread zipf:1.5) > $(spread zipf:0.5) && $(spread zipf:0.5) > $(spread uniform)"
pattern --ranks 4 --tokens 1024 --top-k 1 --skew hot:1,0.5
check "hot:1,0.5 gives one expert half of the choices" every_record "$json" record=run -- load.hottest_share :: \
    '$1 > .45 && $1 < .55'
pattern --model switch-base-8 --ranks 2 --tokens 64
check "a preset brings its own gate and capacity" every_record "$json" record=run -- routing.gate capacity.factor :: \
    '$1 == "switch" && $2 == 1.25'
pattern --model kimi-k2 --ranks 2 --tokens 64
check "a preset that scores by sigmoids gets the gate that does" every_record "$json" record=run -- \
    routing.gate routing.published_gate :: '$1 == "sigmoid" && $2 == "-"'
pattern --model deepseek-v3 --ranks 2 --tokens 64
check "a preset with groups limits them" every_record "$json" record=run -- \
    routing.gate routing.published_gate model.n_group model.topk_group :: \
    '$1 == "sigmoid" && $2 == "-" && $3 == 8 && $4 == 4'
pattern --model deepseek-v3 --gate group-limited --ranks 2 --tokens 64
check "the gate that it publishes is told where another is used" every_record "$json" record=run -- \
    routing.gate routing.published_gate :: '$1 == "group-limited" && $2 == "group-limited:sigmoid-bias"'
pattern --model deepseek-v2 --gate softmax --ranks 2 --tokens 64
check "another gate than the preset's with groups is told" every_record "$json" record=run -- \
    routing.gate routing.published_gate :: '$1 == "softmax" && $2 == "group-limited:softmax"'
pattern --model deepseek-v3 --n-group 0 --ranks 2 --tokens 64
check "groups can be taken away from a preset" every_record "$json" record=run -- routing.gate \
    model.n_group routing.published_gate :: '$1 == "sigmoid" && $2 == "-" && $3 == "group-limited:sigmoid-bias"'
pattern --experts 32 --n-group 4 --topk-group 2 --ranks 2 --tokens 64
check "groups can be given to any shape" every_record "$json" record=run -- routing.gate model.n_group :: \
    '$1 == "group-limited" && $2 == 4'

# ---- Capacity ----
capacity=(--ranks 4 --tokens 256 --skew zipf:1.5 --capacity-factor 1)
for drop in position probability random; do
    pattern "${capacity[@]}" --drop $drop
    shares="$shares $(field capacity.drop_share)"
    check "$drop drops what is over" done_well and every_record "$json" record=run -- \
        capacity.drop capacity.drop_share :: "\$1 == \"$drop\" && \$2 > 0 && \$2 < 1"
done
check "all three drop as many" same "$(echo "$shares" | tr ' ' '\n' | sort -u | grep -c .)" 1
pattern "${capacity[@]}" --min-capacity 256
check "--min-capacity of all tokens drops nothing" every_record "$json" record=run -- \
    capacity.drop_share capacity.slots :: '$1 == 0 && $2 == 256'
pattern --model switch-base-8 --ranks 4 --tokens 256 --skew zipf:1.5 --capacity-factor 0
check "--capacity-factor 0 drops nothing" every_record "$json" record=run -- capacity.drop_share :: '$1 == 0'

# ---- Output ----
run pattern --tokens 64
check "the table goes to stdout" done_well and printed '^routing .*hash [0-9a-f]{16}' and printed '^exact +combine' \
    and test ! -s "$work/err"
run pattern --tokens 64 --json -
check "with --json - it goes to stderr" done_well and lines_printed 7 and said '^exact +combine'
run pattern --tokens 64 --quiet
check "--quiet prints nothing" done_well and lines_printed 0 and test ! -s "$work/err"
rm -f "$json"
run pattern --tokens 64 --quiet --json "$json" --csv "$work/pattern.csv"
run pattern --tokens 64 --quiet --json "$json"
check "a file is appended to" record_count "$json" 2 record=run
check "CSV has a header, a line a record, and as many fields in each" eval \
    'awk -F, "{ if (NF != fields && NR > 1) exit 1; fields = NF; lines++ } END { exit lines != 7 }" "$work/pattern.csv"'
csv_column() { # NAME LINE
    awk -F, -v name="$1" -v line="$2" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } NR == line { print $at[name] }' \
        "$work/pattern.csv"
}
check "CSV and JSON hold the same bytes" same "$(csv_column bytes_wire 2) $(csv_column style 2)" \
    "$(records "$json" record=traffic phase=dispatch style=padded -- bytes.wire style | head -1)"
run pattern --tokens 64 --csv - --quiet
check "--csv - prints CSV and nothing else" done_well and lines_printed 7 and printed '^record,style,phase,'
run pattern --style exact,padded,exact --tokens 64 --quiet --json -
cp "$work/out" "$json"
check "a style named twice is shown once, in the order of the list" \
    same "$(records "$json" phase=dispatch -- style | tr '\n' ' ')" "exact padded "
finish
