#!/bin/bash
# tools/launches and moe-a2a launches: several launches of a command, kept apart and compared.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/launches.jsonl summary=$work/summary.jsonl
raw=(alltoallv --transport loopback --ranks 2 --sizes 1K:4K:4 --warmup 1 --min-reps 10 --max-reps 10 --json "$json")
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
launch() { keep_run tools/launches "$@"; }
refuse() { # EXPRESSION ARGUMENT...
    local expression=$1; shift
    launch "$@"
    check "launches $* is refused" ended_with 2 and said "$expression"
}
export MOE_A2A=$program

# ---- The tool ----
launch 3 --summary "$summary" -- "$program" "${raw[@]}"
check "three launches are appended, each with its number" done_well and \
    same "1 2 3 " "$(records "$json" record=run -- launch | tr '\n' ' ')" and record_count "$json" 6 record=raw
check "rows of all launches stand in one line, sizes apart" printed '^raw +native +alltoallv +1024 +3 +30 ' and \
    printed '^raw +native +alltoallv +4096 +3 +30 .*(launches differ|no difference shown)$'
check "and are recorded" record_count "$summary" 2 record=launches and every_record "$summary" record=launches -- \
    launches reps median_us min_us max_us between within h p differ :: \
    '$1 == 3 && $2 == 30 && $3 >= $4 && $5 >= $3 && $6 >= 0 && $7 >= 0 && $8 >= 0 && $9 >= 0 && $9 <= 1 && ($10 == "true" || $10 == "false")'
check "between is the distance of the launches' medians" every_record "$summary" record=launches -- between median_us min_us max_us :: \
    '($1 * $2 - ($4 - $3)) ^ 2 < 1e-4'
every_field_is_described() {
    local field missing=0
    for field in $(records "$summary" -- @ | tr ' ' '\n' | sort -u) launch; do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described
launch --launches 1 -- "$program" "${raw[@]}"
check "numbers go on in the same file" done_well and same "1 2 3 4 " "$(records "$json" record=run -- launch | tr '\n' ' ')" and \
    printed '^raw .* 1024 +4 +40 '
launch 2 -- "$program" layer --transport loopback --ranks 2 --model olmoe-1b-7b --tokens 8 --hidden 64 --style exact \
    --max-reps 6 --json="$json"
check "another command in the same file is another line" done_well and printed '^exact +native +total +2 +12 ' and printed '^raw .* 1024 +4 +40 '
[ -z "$MPIRUN" ] || {
    rm -f "$json"
    launch 2 -- "$MPIRUN" "${mpi_flags[@]}" -np 2 "$program" alltoallv --sizes 1K --max-reps 8 --json "$json"
    check "under mpirun" done_well and printed '^raw .* 1024 +2 +16 '
}

# ---- What it says of known times ----
times() { # LAUNCH FIRST STEP: a run with 40 repetitions
    echo '{"record":"run","schema":1,"launch":'"$1"',"command":["moe-a2a","layer","--launch","'"$1"'"]}'
    echo '{"record":"exchange","style":"exact","algorithm":"native","phase":"total","layer":0}'
    seq -s, "$2" "$3" "$(awk "BEGIN { print $2 + 39 * $3 }")" |
        sed 's/.*/{"record":"raw","style":"exact","algorithm":"native","phase":"total","warmup_us":[1],"times_us":[&]}/'
}
{ times 1 100 1; times 2 102 1; times 3 99 1; } >"$json"
run launches "$json"
check "launches that are alike show no difference" done_well and printed '^exact .* 3 +120 .*no difference shown$'
{ times 1 100 0.1; times 2 130 0.1; times 3 101 0.1; } >"$json"
run launches "$json" --json "$summary.2"
check "launches that are not differ" done_well and printed '^exact .*launches differ$' and \
    every_record "$summary.2" -- differ p median_us :: '$1 == "true" && $2 < 1e-6 && ($3 - 102.95) ^ 2 < 1e-6'
for n in 1 2 3 4 5 6; do times $n "$((100 + n))" 0.1; done >"$json"
echo '{"record":"raw","style":"exact","algor' >>"$json"
run launches "$json" --quiet --json -
cp "$work/out" "$summary.3"
check "six launches give an interval of their median, and a line that was cut off is passed over" done_well and \
    every_record "$summary.3" -- launches ci_low_us ci_high_us :: '$1 == 6 && ($2 - 102.95) ^ 2 < 1e-6 && ($3 - 107.95) ^ 2 < 1e-6'
times 1 100 1 >"$json"
run launches "$json"
check "one launch is too few to tell" done_well and printed 'too few to tell$'

# ---- Refused ----
refuse 'how often' 0 -- true --json x
refuse 'no --json FILE' 2 -- "$program" alltoallv
refuse 'no --json FILE' 2 -- "$program" alltoallv --json -
refuse 'launches N' 2
launch 2 -- "$program" alltoallv --sizes nonsense --json "$work/none"
check "a launch that fails ends it, with its status" ended_with 2 and said 'launch 1 ended with 2'
run launches "$work/absent"
check "a file that is not there" refused_in_one_line 'cannot open'
: >"$work/empty"; run launches "$work/empty"
check "an empty file" refused_in_one_line 'no record in it'
echo '{"record":"run","schema":1,"command":["x"]}' >"$work/plain"; run launches "$work/plain"
check "runs that are no launches" refused_in_one_line 'no run has a launch number'
echo '{"record":"run","schema":1,"launch":1,"command":["x"]}' >"$work/plain"; run launches "$work/plain"
check "launches without repetitions" refused_in_one_line 'they need --raw'
echo '{"record":"run","schema":2,"launch":1,"command":["x"]}' >"$work/plain"; run launches "$work/plain"
check "another schema" refused_in_one_line 'schema 2'
run launches
check "no file" refused_in_one_line 'no file'
run launches "$json" --csv -
check "no CSV" refused_in_one_line '\-\-csv'
finish
