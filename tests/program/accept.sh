#!/bin/bash
# moe-a2a accept: rules and results; what passes, what does not, and that nothing passes by absence.
. tests/environment.sh
. tests/common/tap.sh
. tests/common/result_files.sh

build_json_query || exit 1
good=$work/good.jsonl slow=$work/slow.jsonl few=$work/few.jsonl rules=$work/rules.json out=$work/out.jsonl
{ run_of; exchange_of exact dispatch 10 9.9 10.1 '"errors":0'; exchange_of exact combine 20 19.8 20.2 '"errors":0'
  exchange_of exact total 40 39.5 40.5 '"errors":0'; } >"$good"
sed 's/"median_us":20,"ci_low_us":19.8,"ci_high_us":20.2/"median_us":40,"ci_low_us":39.8,"ci_high_us":40.2/' "$good" >"$slow"
{ run_of; bare_of exact dispatch 10; bare_of exact combine 90; bare_of exact total 90; } >"$few"

rule() { # METRIC CONDITION [MORE OF THE SELECTOR] [MORE OF THE RULE]
    printf '{"select":{"record":"exchange"%s},"metric":"%s","condition":"%s"%s}' "${3:+,$3}" "$1" "$2" "${4:+,$4}"
}
write_rules() { local IFS=,; printf '{"schema":1,"rules":[%s]}\n' "$*" >"$rules"; }

# ---- Three verdicts, three statuses ----
write_rules "$(rule errors '== 0')" "$(rule median_us '<= 30' '"phase":["dispatch","combine"]')" \
    "$(rule median_us '<= 5' '"phase":"total"' '"severity":"warning","name":"a hint"')"
run_at_work accept --rules rules.json good.jsonl --junit junit.xml --markdown report.md --json out.jsonl --csv rows.csv
check "a good run passes" done_well and printed '^PASS: 5 passed, 0 failed, 0 inconclusive, by 3 rules'
check "the table is as it was" golden accept-pass.txt "$work/out"
check "JUnit is as it was" golden accept-pass.xml "$work/junit.xml"
run_at_work accept --rules rules.json slow.jsonl --junit slow.xml --markdown report.md
check "a slow combine fails, and the host that was last is named" ended_with 1 and messages 0 and \
    printed '^FAIL +median_us <= 30 +exact native combine .* 40.00 .39.80, 40.20. .* 1 .host1. +beyond the limit'
check "Markdown is as it was" golden accept-fail.md "$work/report.md"
check "JUnit counts the failure" grep -q '<testsuites tests="6" failures="1" errors="0" skipped="0">' "$work/slow.xml"
run accept --rules "$rules" "$few" --junit "$work/few.xml"
check "three repetitions decide nothing" ended_with 3 and messages 0 and printed '^INCONCLUSIVE: 3 passed, 0 failed, 2 inconclusive' and \
    printed 'fewer than 6 repetitions'
check "what is inconclusive passes in no CI system" grep -q '<error type="INCONCLUSIVE"' "$work/few.xml"
if command -v xmllint >/dev/null; then
    check "JUnit is XML" xmllint --noout "$work/junit.xml" "$work/slow.xml" "$work/few.xml"
else
    skip "no xmllint here" "JUnit is XML"
fi
check "records: one for all, one for each rule and result" record_count "$out" 1 record=acceptance verdict=PASS schema=1 and \
    record_count "$out" 6 record=verdict and record_count "$out" 1 record=verdict severity=warning verdict=FAIL slowest_host=host1
check "CSV has a line each, with as many fields" eval \
    'awk -F, "NR > 1 && NF != fields { exit 1 } { fields = NF } END { exit NR != 7 }" "$work/rows.csv"'
every_field_is_described() {
    local field missing=0
    for field in $(records "$out" -- @ | tr ' ' '\n' | sort -u); do
        grep -q "\`$field\`" docs/results.md || { echo "not described: $field"; missing=1; }
    done
    return $missing
}
check "every field is described in docs/results.md" every_field_is_described
run accept --rules "$rules" "$good" "$slow"
check "several files are judged together" ended_with 1 and printed '^FAIL: 9 passed, 1 failed'

# ---- Who is slow: what the runs concluded ----
finding() { printf '{"record":"finding","evidence":"pairs","kind":"%s","reach":"between"%s}\n' "$1" "${2:+,$2}"; }
{ cat "$slow"; finding host '"ranks":[1],"hosts":["host1"],"direction":"both","value_us":20,"others_us":10,"ratio":2'; } >"$work/named.jsonl"
{ cat "$good"; finding none; } >"$work/healthy.jsonl"
run accept --rules "$rules" "$work/named.jsonl" --json "$work/named-out.jsonl"
check "accept names the host that stood out, with file and line" ended_with 1 and \
    printed '^- slow host both ways: rank 1 on host1, 2.00 times as long as the others .*/named.jsonl:5' and \
    record_count "$work/named-out.jsonl" 1 record=finding kind=host hosts.0=host1 line=5
run accept --rules "$rules" "$work/healthy.jsonl"
check "and says where nothing stood out" done_well and printed '^nothing stands out'
sed 's/"ranks":.1.,//; s/"kind":"host"/"kind":7/' "$work/named.jsonl" >"$work/edited.jsonl"
run accept --rules "$rules" "$work/edited.jsonl"
check "an edited finding is refused" refused 'edited.jsonl:5: kind: 7 is not text'

# ---- Baselines ----
write_rules "$(rule median_us '<= 1.10 * baseline')"
run accept --rules "$rules" --baseline "$good" "$good" --quiet --json -
check "a run is no slower than itself" done_well and record_count "$work/out" 3 verdict=PASS ratio=1
run accept --rules "$rules" --baseline "$good" "$slow"
check "twice as slow fails, with the ratio" ended_with 1 and printed ' 2.000 .1.9.*, 2.0.*'
run accept --rules "$rules" --baseline "$slow" "$good"
check "twice as fast does not" done_well
grep -v combine "$good" >"$work/less.jsonl"
run accept --rules "$rules" --baseline "$good" "$work/less.jsonl"
check "what the baseline has and the results lack fails" ended_with 1 and printed 'missing: the baseline has it'
run accept --rules "$rules" --baseline "$work/less.jsonl" "$good"
check "what only the results have is inconclusive" ended_with 3 and printed 'the baseline has no such measurement'
run accept --rules layer-baseline --baseline "$good" "$good"
check "rules that come with the program are found by name" done_well and printed '3 rules of .*/patterns/acceptance/layer-baseline.json'
run accept --rules link-efficiencie "$good"
check "a name that is near is told" refused_in_one_line 'nearest: link-efficiency; there are: alltoallv-baseline, '
ready_rules() { # each is read: the refusal is about results, not about rules
    local file
    for file in patterns/acceptance/*.json; do
        run accept --rules "$(basename "$file" .json)" /nonexistent
        said "cannot open '/nonexistent'" || { cat "$work/err"; return 1; }
        grep -q "$(basename "$file" .json)" docs/verdicts.md || { echo "not described: $file"; return 1; }
    done
}
check "all ready rules are sound, and described" ready_rules

# ---- Rules from a healthy run ----
run accept --make-baseline "$good" --margin 5%
cp "$work/out" "$rules"
check "rules are made" done_well and golden make-baseline.json "$rules"
run accept --rules "$rules" "$good"
check "the healthy run passes them" done_well and printed '^PASS: 6 passed'
run accept --rules "$rules" "$slow"
check "a slow one fails" ended_with 1
run accept --rules "$rules" "$work/less.jsonl"
check "a measurement that is missing fails" ended_with 1 and printed 'missing: no result is selected'
run accept --make-baseline --margin 100% "$good" -o "$rules" && run accept --rules "$rules" "$slow"
check "with a wider margin it passes" done_well
run accept --make-baseline "$few"
check "nothing can be made of three repetitions" refused_in_one_line 'no rule can be made'

# ---- Real runs ----
measure() { # FILE COMMAND OPTION...
    local file=$1 command=$2; shift 2
    run_loopback 2 "$command" --warmup 1 --min-reps 20 --max-reps 20 --max-seconds 2 --quiet --json "$file" "$@"
}
measure "$work/layer" layer --model olmoe-1b-7b --hidden 64 --tokens 8
measure "$work/raw" alltoallv --sizes 1M:4M:4 --link-bandwidth 1MB/s --algorithm native,pairwise
measure "$work/it" iteration --model olmoe-1b-7b --hidden 64 --tokens 8 --compute none --pass forward
for name in layer raw it; do
    run accept --rules "$(echo $name | sed 's/raw/alltoallv/;s/^it$/iteration/')-correct" "$work/$name"
    check "a real $name run is correct" done_well
    run accept --make-baseline "$work/$name" --margin 100 -o "$rules"; cp "$work/err" "$work/said"
    run accept --rules "$rules" "$work/$name"
    check "and passes the rules that are made from it" done_well
done
run accept --rules link-efficiency "$work/raw"
check "more than the link can carry is no failure" eval '[ $rc = 0 ] || [ $rc = 3 ]' and printed 'efficiency +>= 0.8'
run accept --rules layer-correct "$work/raw"
check "rules for another command match nothing" refused_in_one_line 'rules.0. .*selects none of the'
measure "$work/off" layer --model olmoe-1b-7b --hidden 64 --tokens 8 --check off
run accept --rules layer-correct "$work/off"
check "what was not checked does not pass for right" refused_in_one_line "metric 'errors' is in none of"

# ---- Refused ----
write_rules "$(rule errors '== 0')"
refuse_files accept --rules "$rules" FILE
write_rules "$(rule median_us '<= baseline')"
refuse_files accept --rules "$rules" --baseline FILE "$good"
refuse_files accept --make-baseline FILE
refuse_rule() { # STATEMENT EXPRESSION RULE
    write_rules "$3"
    run accept --rules "$rules" "$good"
    check "$1 is refused" refused_in_one_line "$2"
}
refuse_rule "a key with a typo" 'rules.json: rules.0.: .sverity. is no key .*nearest: severity' "$(rule errors '== 0' '' '"sverity":"error"')"
refuse_rule "a field with a typo" 'rules.0.*phse. is no field .*nearest: phase' "$(rule errors '== 0' '"phse":"total"')"
refuse_rule "a metric with a typo" 'rules.0.*erors. is no figure; nearest: errors' "$(rule erors '== 0')"
refuse_rule "a condition with a typo" 'rules.0..condition: .=< 0. is no condition' "$(rule errors '=< 0')"
refuse_rule "a metric that was not measured" 'efficiency. is in none' "$(rule efficiency '>= 0.8')"
refuse_rule "a metric without an interval" 'no interval' "$(rule min_us '<= 10')"
refuse_rule "a measured figure that must be equal" 'never equal' "$(rule median_us '== 10')"
refuse_rule "a rule that matches nothing" 'selects none' "$(rule errors '== 0' '"style":"slots"')"
refuse_rule "a condition on a baseline without one" 'needs --baseline' "$(rule median_us '<= baseline')"
echo '{"schema":1,"rules":[' >"$rules"
run accept --rules "$rules" "$good"
check "rules that are no JSON are refused, with the line" refused_in_one_line 'rules.json:2:'
: >"$rules"
run accept --rules "$rules" "$good"
check "empty rules are refused" refused_in_one_line 'rules.json:1:'
write_rules "$(rule errors '== 0')"
run accept --rules "$rules" --baseline "$good" "$good"
check "a baseline that no rule mentions" refused_in_one_line '--baseline: no rule'
run accept "$good"
check "no rules" refused_in_one_line '--rules RULES is needed'
run accept --rules "$rules"
check "no results" refused_in_one_line 'no results named'
run accept --rules "$rules" "$good" --margin 5%
check "a margin without --make-baseline" refused_in_one_line '--margin goes with --make-baseline'
run accept --make-baseline --rules "$rules" "$good"
check "rules with --make-baseline" refused_in_one_line '--rules: nothing is judged'
for margin in '' x -1 NaN % 5%%; do
    run accept --make-baseline "$good" --margin "$margin"
    check "--margin '$margin'" refused_in_one_line '--margin'
done
run accept --rules "$rules" "$good" --junit "$work/x" --markdown "$work/x"
check "two outputs in one file" refused_in_one_line '--junit.*where --markdown writes'
run accept --make-baseline "$good" -o /nonexistent/x
check "rules that cannot be written" refused_in_one_line '--output: cannot write'
if [ -e /dev/full ]; then
    run accept --rules "$rules" "$slow" --quiet --junit /dev/full
    check "a full disk is no verdict" ended_with 4 and messages 1
fi
finish
