# Result files made of a few words, for the scripts that test what reads them.

# run_of [MORE FIELDS]: a run of 2 ranks on host0 and host1
run_of() {
    printf '{"record":"run","schema":1,"program":"moe-a2a","version":"0.1.0","command":["moe-a2a","layer"],"time":"2026-01-01T00:00:00Z","ranks":2,"hosts":["host0","host1"],"model":{"name":"m"},"routing":{"spec":"s","seed":1,"hash":"0123456789abcdef"}%s}\n' "${1:+,$1}"
}
# exchange_of STYLE PHASE MEDIAN LOW HIGH [MORE FIELDS]: 30 repetitions, converged
exchange_of() {
    printf '{"record":"exchange","style":"%s","algorithm":"native","phase":"%s","layer":0,"reps":30,"warmup":5,"converged":true,"slowest_rank":1,"median_us":%s,"ci_low_us":%s,"ci_high_us":%s,"min_us":1%s}\n' \
        "$1" "$2" "$3" "$4" "$5" "${6:+,$6}"
}
# bare_of STYLE PHASE MEDIAN: 3 repetitions: no interval, not converged
bare_of() {
    printf '{"record":"exchange","style":"%s","algorithm":"native","phase":"%s","layer":0,"reps":3,"warmup":5,"converged":false,"slowest_rank":1,"median_us":%s,"min_us":1,"errors":0}\n' "$@"
}

# refuse_files CHECKED COMMAND...: every unsound file in place of FILE among the words of the command
refuse_files() {
    local whole=$work/whole bad=$work/bad.jsonl name expression words=()
    { run_of; exchange_of exact total 10 9 11; } >"$whole"
    while [ $# -gt 0 ]; do words+=("${1/FILE/$bad}"); shift; done
    while IFS='|' read -r name expression; do
        rm -f "$bad"
        case $name in
            empty) : >"$bad" ;;
            absent) ;;
            'a folder') mkdir "$bad" ;;
            truncated) head -c -20 "$whole" >"$bad" ;;
            'without its beginning') tail -n 1 "$whole" >"$bad" ;;
            'without figures') head -n 1 "$whole" >"$bad" ;;
            'cut in the middle') { head -n 1 "$whole"; tail -n 1 "$whole" | head -c 40; echo; tail -n 1 "$whole"; } >"$bad" ;;
            'of text') echo hello >"$bad" ;;
            'of another program') sed 's/"moe-a2a","version"/"fio","version"/' "$whole" >"$bad" ;;
            'of a later schema') sed 's/"schema":1/"schema":2/' "$whole" >"$bad" ;;
            'with a negative time') sed 's/"median_us":10/"median_us":-10/' "$whole" >"$bad" ;;
            'with a time that is text') sed 's/"median_us":10/"median_us":"10"/' "$whole" >"$bad" ;;
            'with NaN') sed 's/"median_us":10/"median_us":NaN/' "$whole" >"$bad" ;;
            'with a key twice') sed 's/"median_us":10/"median_us":10,"median_us":10/' "$whole" >"$bad" ;;
            'edited') sed 's/"median_us":10/"median_us":8/' "$whole" >"$bad" ;;
            'of what compare wrote') echo '{"record":"comparison","schema":1}' >"$bad" ;;
        esac
        run "${words[@]}"
        check "${words[0]} refuses a file $name" refused_in_one_line "$expression"
        [ ! -d "$bad" ] || rmdir "$bad"
    done <<'CASES'
empty|bad.jsonl. is empty
absent|cannot open .*bad.jsonl
a folder|cannot read .*bad.jsonl
truncated|bad.jsonl:2: the last line is cut off
without its beginning|bad.jsonl:1: .*before any run
without figures|bad.jsonl. holds no results
cut in the middle|bad.jsonl:2: the line is cut off
of text|bad.jsonl:1: not JSON
of another program|bad.jsonl:1: program: 
of a later schema|bad.jsonl:1: schema: not 1
with a negative time|bad.jsonl:2: median_us: -10 is not
with a time that is text|bad.jsonl:2: median_us: "10" is not
with NaN|bad.jsonl:2: not JSON
with a key twice|bad.jsonl:2: .*duplicate
edited|bad.jsonl:2: ci_low_us: 9 is above median_us
of what compare wrote|bad.jsonl:1: .*before any run
CASES
}

# Among the files, so that no name of a folder widens a column.
run_at_work() { # COMMAND OPTION...
    local from=$PWD from_here=$program
    program=$(realpath "$program"); cd "$work" || return
    run "$@"
    cd "$from" || return; program=$from_here
}
# golden NAME FILE: the file is as tests/program/golden/NAME; MOE_GOLDEN=write makes it so
golden() {
    [ "${MOE_GOLDEN:-}" != write ] || cp "$2" "tests/program/golden/$1"
    diff "tests/program/golden/$1" "$2"
}
