#!/bin/bash
# moe-a2a suite: a set of runs, judged; ended in the middle and called again.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
out=$work/suite
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
suite() { # RANKS OPTION...: under MPI where there is one
    local ranks=$1; shift
    if [ -n "$MPIRUN" ]; then
        run_ranks "$ranks" suite "$@"
    else
        run_loopback "$ranks" suite "$@"
    fi
}

suite 3 quick --out "$out" --max-seconds 8
check "suite quick passes on a machine that works" done_well and printed '^## Verdict: PASS'
check "each item has records and a table" eval '[ "$(ls "$out"/0?-*.jsonl | wc -l)" = 5 ] && [ "$(ls "$out"/0?-*.txt | wc -l)" = 5 ]'
check "verdict and report are there" grep -q 'Verdict: PASS' "$out/report.md" and test -s "$out/verdict.jsonl" and \
    test -s "$out/verdict-layer-correct.xml"
check "every byte was checked" every_record "$out/all.jsonl" record=exchange phase=dispatch -- errors :: '$1 == 0'
check "pairs were measured" record_count "$out/01-pairs.jsonl" 6 record=pair
mkdir "$work/copy" && cp "$out"/*.jsonl "$work/copy"
suite 3 quick --out "$out" --max-seconds 8
check "called again it runs nothing, and says the same" done_well and printed 'is there already' and not printed 'done after' and \
    same "$(cat "$work/copy/04-styles.jsonl")" "$(cat "$out/04-styles.jsonl")"
suite 3 quick --out "$out" --max-seconds 8 --baseline "$out/all.jsonl" --quiet
check "against itself as a baseline nothing fails" eval '[ $rc = 0 ] || [ $rc = 3 ]' and not grep -q 'Verdict: FAIL' "$out/report.md"
sed -i 's/"errors":0/"errors":7/' "$out/04-styles.jsonl"
suite 3 quick --out "$out" --max-seconds 8
check "wrong data fails" ended_with 1 and printed '^## Verdict: FAIL' and said '^moe-a2a suite: FAIL: '
rm "$out/03-skewed.jsonl" && sed -i 's/"errors":7/"errors":0/' "$out/04-styles.jsonl"
suite 3 quick --out "$out" --max-seconds 0.001
check "what there was no time for leaves it inconclusive" ended_with 3 and printed 'NOT RUN: no time' and printed '^## Verdict: INCONCLUSIVE'
suite 3 quick --out "$out" --max-seconds 8
check "the next call runs what is missing" done_well and printed '03-skewed +done after'
if [ -n "$MPIRUN" ]; then
    suite 2 quick --out "$out"
    check "a folder of another suite is refused" ended_with 2 and messages 1 and said 'another number of ranks'
fi
suite 2 quick
check "without a folder it is refused" ended_with 2 and messages 1 and said '--out DIR'
suite 2 everything --out "$work/none"
check "an unknown suite is refused" ended_with 2 and messages 1 and said 'acceptance and quick'
suite 2 quick --out /nowhere/at/all
check "a folder that cannot be made is refused" ended_with 2 and messages 1 and said '--out /nowhere'

# ---- A rank that is killed ----
victim() { ranks_of "$work/killed" | tail -1; }
kill_one() {
    timeout -k 5 "$patience" "$MPIRUN" "${mpi_flags[@]}" -np 3 "$program" suite quick --out "$work/killed" --max-seconds 20 --timeout 20 \
        >"$work/out" 2>"$work/err" </dev/null &
    local launcher=$! end=$((SECONDS + 60))
    until [ -f "$work/killed/02-uniform.jsonl" ]; do
        [ $SECONDS -lt $end ] || { kill $launcher; return 1; }
        sleep 0.02
    done
    local start=$SECONDS; kill -9 "$(victim)" || { wait $launcher; return 1; }
    wait $launcher; rc=$?
    seconds=$((SECONDS - start))
    echo "a suite that is killed" >"$work/command"
}
if [ -n "$MPIRUN" ]; then
    check "a rank is killed in the middle" kill_one
    check "the launcher ends the rest, soon, and not as done" not done_well and test "$seconds" -lt 30
    check "what was finished is there" record_count "$work/killed/01-pairs.jsonl" 6 record=pair and test -s "$work/killed/02-uniform.jsonl"
    suite 3 quick --out "$work/killed" --max-seconds 20 --timeout 20
    check "a second call goes on to the end" done_well and printed '01-pairs +is there already' and printed '05-iteration +done after' and \
        printed '^## Verdict: PASS'
else
    skip "no MPI here" "a rank that is killed ends the others, and a second call goes on"
fi
finish
