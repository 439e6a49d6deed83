#!/bin/bash
# moe-a2a compare: what matches, what is said of it, what is refused.
. tests/environment.sh
. tests/common/tap.sh
. tests/common/result_files.sh

build_json_query || exit 1
a=$work/a.jsonl b=$work/b.jsonl out=$work/out.jsonl

# ---- Known files ----
{
    run_of '"mpi":"Open MPI 4","env":{"UCX_TLS":"tcp"}'
    exchange_of exact dispatch 20 19.8 20.3; exchange_of exact total 41 40 42
    exchange_of padded dispatch 30 29.5 30.5; exchange_of padded total 50 48 53
    exchange_of dedup total 5 4 6
} >"$a"
{
    run_of '"mpi":"MPICH 4","env":{"UCX_TLS":"tcp"}'
    exchange_of exact dispatch 10 9.9 10.2; exchange_of exact total 20 19 21
    exchange_of padded dispatch 30.1 29.5 30.5; exchange_of padded total 55 54 56.5
    bare_of slots total 5
} >"$b"
run_at_work compare a.jsonl b.jsonl
check "half the time is twice as fast, with the verdict" done_well and \
    printed '^m +2 +exact +native +dispatch +layer 0 +20.00 .19.80, 20.30. +10.00 .9.90, 10.20. +2.000 .1.9.*, 2.0.*. +faster$' and \
    printed '^m .* padded +native +dispatch .* no difference shown$' and printed '^m .* padded +native +total .* slower$'
check "the table is as it was" golden compare.txt "$work/out"
run_at_work compare a.jsonl b.jsonl --quiet --json - --csv rows.csv --markdown report.md; cp "$work/out" "$out"
check "one record a row, and one for each thing that is told" done_well and record_count "$out" 4 record=ratio and \
    record_count "$out" 1 record=comparison schema=1 faster=2 slower=1 no_difference=1 unmatched=2 and \
    record_count "$out" 2 record=unmatched and record_count "$out" 1 record=difference field=mpi
check "the ratio lies in its interval" every_record "$out" record=ratio -- ratio_low ratio ratio_high :: '$1 <= $2 && $2 <= $3'
check "rows that contradict each other have no mean" record_count "$out" 1 record=ratio_mean phase=total rows=2 and \
    every_record "$out" record=ratio_mean phase=total -- ratio :: '$1 == "-"' and \
    every_record "$out" record=ratio_mean phase=dispatch -- ratio least most :: '$1 > $2 && $1 < $3'
check "CSV has a line a row, with as many fields each" eval \
    'awk -F, "NR > 1 && NF != fields { exit 1 } { fields = NF } END { exit NR != 5 }" "$work/rows.csv"'
check "Markdown is as it was" golden compare.md "$work/report.md"
check "only the figures were said, and nothing on stderr" test ! -s "$work/err"

reciprocal() {
    run compare "$b" "$a" --quiet --json -
    records "$out" record=ratio -- style phase ratio ratio_low ratio_high verdict | sort >"$work/forth"
    records "$work/out" record=ratio -- style phase ratio ratio_low ratio_high verdict | sort >"$work/back"
    paste -d' ' "$work/forth" "$work/back" | awk '
        function apart(x) { return x > 1 + 1e-7 || x < 1 - 1e-7 }
        $1 != $(NF/2+1) || apart($3 * $(NF/2+3)) || apart($4 * $(NF/2+5)) || apart($5 * $(NF/2+4)) { print; bad = 1 }
        /faster.*faster|slower.*slower/ { print; bad = 1 }
        END { exit bad || NR != 4 }'
}
check "the other order says the reciprocal" reciprocal
run compare "$a" "$a" --quiet --json -
check "a file against itself: no difference, everywhere" record_count "$work/out" 5 record=ratio "verdict=no difference shown" ratio=1
check "nothing differs, nothing is left over" record_count "$work/out" 0 record=difference and record_count "$work/out" 0 record=unmatched
run compare "$a" "$b" "$a" --quiet --json -
check "each further file is held against the first" done_well and record_count "$work/out" 2 record=comparison and \
    record_count "$work/out" 9 record=ratio
run compare "$a" "$b" --csv -
check "with records on stdout the table goes to stderr" said '^m .* faster$' and not printed 'faster in'
every_field_is_described() {
    local field missing=0
    for field in $(records "$out" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described

# ---- Real runs ----
measure() { # FILE STYLES SEED
    run_loopback 2 layer --model olmoe-1b-7b --hidden 64 --tokens 8 --warmup 1 --min-reps 30 --max-reps 30 --max-seconds 2 \
        --style "$2" --seed "$3" --raw --quiet --json "$1"
}
measure "$work/one" exact,padded,hier 1; measure "$work/two" exact,hier 1; measure "$work/other" exact 2
run compare "$work/one" "$work/two" --quiet --json -; cp "$work/out" "$out"
check "what two runs have in common is compared, by their repetitions" done_well and \
    record_count "$out" 1 record=ratio style=exact phase=dispatch method=samples and \
    record_count "$out" 0 record=ratio style=padded and every_record "$out" record=unmatched -- style :: '$1 == "padded"'
run compare "$work/one" "$work/other"
check "another seed is another pattern: nothing matches, and why" ended_with 2 and messages 1 and said 'nothing matched' and \
    printed 'run.routing.hash [0-9a-f]{16}, there [0-9a-f]{16}'
run compare results/lab-compare.jsonl results/lab-compare.jsonl --quiet --json -
check "recorded runs of before are read" done_well and record_count "$work/out" 24 record=ratio

# ---- Refused ----
refuse_files compare FILE "$a"
refuse_files compare "$a" FILE
run compare
check "no file" refused_in_one_line 'two or more result files'
run compare "$a"
check "one file" refused_in_one_line 'two or more result files'
run compare "$a" "$b" --json - --markdown -
check "two outputs on stdout" refused_in_one_line '--markdown.*where --json writes'
run compare "$a" "$b" --markdown /nonexistent/x
check "an output that cannot be written" refused_in_one_line '--markdown: cannot write'
run compare "$a" "$b" --rules x
check "an option of accept" refused_in_one_line '--rules: no such option'
run models a b
check "one argument where one is taken" refused_in_one_line "models takes one argument"
if [ -e /dev/full ]; then
    run compare "$a" "$b" --quiet --markdown /dev/full
    check "a full disk" ended_with 4 and messages 1
fi
finish
