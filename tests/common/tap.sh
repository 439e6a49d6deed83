# For the scripts of tests/program: one TAP line a statement, and the program run in its three ways.
# Sourced by bash at the root of the project, behind tests/environment.sh.
program=$BUILD/moe-a2a
work=$(mktemp -d)
tests_done=0
leave() { rm -rf "$work"; }
trap leave EXIT

# check STATEMENT COMMAND [and COMMAND]...: holds where all succeed; what they printed is shown where not
check() {
    local statement=$1 failed=; shift
    tests_done=$((tests_done + 1))
    while [ $# -gt 0 ] && [ -z "$failed" ]; do
        local condition=()
        while [ $# -gt 0 ] && [ "$1" != and ]; do condition+=("$1"); shift; done
        shift
        "${condition[@]}" >"$work/said" 2>&1 || failed="${condition[*]}"
    done
    if [ -z "$failed" ]; then
        echo "ok $tests_done - $statement"
        return
    fi
    echo "not ok $tests_done - $statement"
    echo "# not so: $failed" | head -3
    head -20 "$work/said" | cut -c1-200 | sed 's/^/#   /'
    if [ -f "$work/command" ]; then
        echo "# last run, ended with $rc after $seconds s: $(cat "$work/command")"
        tail -15 "$work/out" | cut -c1-300 | sed 's/^/#   stdout: /'
        tail -15 "$work/err" | cut -c1-300 | sed 's/^/#   stderr: /'
    fi
}

# skip REASON STATEMENT...
skip() {
    local reason=$1 statement; shift
    for statement; do
        tests_done=$((tests_done + 1))
        echo "ok $tests_done - $statement # SKIP $reason"
    done
}

# The plan: a script that ended early has none, and fails.
finish() { echo "1..$tests_done"; }

# ---- Running the program; leaves $work/out, $work/err, $rc and $seconds ----

# A launch gets so long: nothing here takes a tenth of it, on any machine that can run it at all.
patience=${MOE_TEST_PATIENCE:-100}

keep_run() { # COMMAND...
    local start=$SECONDS
    printf '%s\n' "$*" >"$work/command"
    timeout -k 5 "$patience" "$@" >"$work/out" 2>"$work/err" </dev/null; rc=$?
    seconds=$((SECONDS - start))
}

run() { keep_run "$program" "$@"; } # bare: one process, no launcher

# Without MPI, and where the launcher does not matter, ranks are threads.
run_loopback() { # RANKS COMMAND OPTION...
    local ranks=$1 command=$2; shift 2
    keep_run "$program" "$command" --transport loopback --ranks "$ranks" "$@"
}

run_ranks() { # RANKS OPTION...: under mpirun
    local ranks=$1; shift
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" "$program" "$@"
}

# ---- What may be said of a run ----

ended_with() { [ "$rc" = "$1" ]; } # EXIT STATUS

done_well() { ended_with 0; }

printed() { grep -qE -- "$1" "$work/out"; } # REGULAR EXPRESSION
not() { ! "$@"; }
said() { grep -qE -- "$1" "$work/err"; }
lines_printed() { [ "$(wc -l <"$work/out")" = "$1" ]; } # NUMBER

# ranks_of WORD: process ids of this build's program with WORD in their command lines; a bare machine has no pgrep
ranks_of() {
    local own id
    own=$(realpath "$program")
    # shellcheck disable=SC2012
    for id in $(ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n "s|.* /proc/\([0-9]*\)/exe -> $own\$|\1|p"); do
        grep -qaF -- "$1" "/proc/$id/cmdline" 2>/dev/null && echo "$id"
    done
}

# Launchers add lines of their own to stderr; ours begin with the program's name. More ranks than cores are warned of,
# which depends on the machine.
messages() { # NUMBER
    local found
    found=$(cat "$work/out" "$work/err" | grep '^moe-a2a' | grep -vcE '^moe-a2a [a-z]+: warning: ')
    [ "$found" = "$1" ] || { echo "$found messages of ours where $1 were expected"; return 1; }
}

# Refused as bad input is: one line, exit 2, and nothing on stdout.
refused() { # [REGULAR EXPRESSION that the message holds]
    ended_with 2 && messages 1 && [ ! -s "$work/out" ] && said "^moe-a2a.*${1:-.}"
}
refused_in_one_line() { [ "$(wc -l <"$work/err")" = 1 ] && refused "$@"; }

# ---- Records ----

build_json_query() {
    local flags
    flags=$(${PKG_CONFIG:-pkg-config} --cflags --libs jansson) || return 1
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -O1 -D_GNU_SOURCE -o "$work/json_query" tests/common/json_query.c $flags
}

# records FILE [FIELD=VALUE ...] [-- FIELD ...]: see json_query.c
records() { "$work/json_query" "$@"; }

# record_count FILE NUMBER [FIELD=VALUE ...]
record_count() {
    local file=$1 wanted=$2 found; shift 2
    records "$file" "$@" >"$work/values"; [ $? != 1 ] || return 1
    found=$(wc -l <"$work/values")
    [ "$found" = "$wanted" ] || { echo "$found records where $wanted were expected"; return 1; }
}

# every_record FILE [FIELD=VALUE ...] -- FIELD ... :: CONDITION OF AWK: holds for all, and there are some
every_record() {
    local arguments=() condition
    while [ $# -gt 0 ] && [ "$1" != :: ]; do arguments+=("$1"); shift; done
    condition=$2
    records "${arguments[@]}" >"$work/values" || { echo "no such records"; return 1; }
    awk "!($condition) { print \"not so: \" \$0; bad = 1 } END { exit bad }" "$work/values"
}
