#!/bin/bash
# What stands in examples/ is at least what it says: scripts parse, and the summary for SuperBench is made of real records.
# The sbatch scripts are run in tests/program/slurm.sh.
. tests/environment.sh
. tests/common/tap.sh

json=$work/examples.jsonl
for script in examples/*.sbatch; do check "$script parses" bash -n "$script"; done
if ! command -v python3 >/dev/null; then
    skip "no python3 here" "the Python examples parse" "the summary for SuperBench holds what was measured"
    finish
    exit
fi
for script in examples/*.py; do
    check "$script parses" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$script"
done

build_json_query || exit 1
case=(--model switch-base-8 --tokens 8 --hidden 64 --max-reps 6 --max-seconds 1 --json "$json")
run_loopback 2 layer "${case[@]}" --style exact
run_loopback 2 iteration "${case[@]}" --style padded-max --layers 4 --compute none
echo '{"record":"exch' >>"$json" # as a run that is killed leaves it
keep_run python3 examples/superbench_summary.py "$json"
value() { # KEY of line NUMBER: its value
    sed -n "$2p" "$work/out" | grep -oP "\"moe-a2a:switch-base-8/$1\": \K[-0-9.e]+"
}
same() { [ -n "$1" ] && [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
check "the summary for SuperBench is a line a run, under its host" done_well and lines_printed 2 and \
    printed "^\{\"node\": \"$(hostname)\""
check "it holds what was measured" same "$(value exact_native_dispatch_time_us 1)" \
    "$(records "$json" record=exchange phase=dispatch -- median_us | head -1)" and same "$(value return_code 1)" 0
check "and of an iteration the shares" test -n "$(value padded_max_native_training_share_a2a 2)$(value padded_max_native_forward_share_a2a 2)"
finish
