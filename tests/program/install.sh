#!/bin/bash
# make install: what lands where, headers that stand on their own, a library that others can link.
. tests/environment.sh
. tests/common/tap.sh

root=$work/root prefix=/usr/local
installed=$root$prefix
c_compiler=${CC:-cc}
sanitizer=(); [ -z "$SANITIZE" ] || sanitizer=("-fsanitize=$SANITIZE")

# make with what this build was made with, so that nothing is built anew
make_here() {
    local variables=("BUILD=$BUILD" "SANITIZE=$SANITIZE" ${CUDA_HOME+"CUDA_HOME=$CUDA_HOME"} ${CUDA_ARCHS+"CUDA_ARCHS=$CUDA_ARCHS"})
    case $MPIRUN in mpirun | '') ;; *) variables+=("MPICC=${MPIRUN/mpirun/mpicc}") ;; esac
    make --no-print-directory "${variables[@]}" "$@"
}
files() { (cd "$root" && find . -type f | sort); }
holds() { [ -e "$installed/$1" ]; }

check "make install DESTDIR= succeeds" make_here install DESTDIR="$root" PREFIX=$prefix
check "the program is there, and runs" holds bin/moe-a2a and "$installed/bin/moe-a2a" models mixtral-8x7b
check "the library is there" holds lib/libmoe-a2a.a
finds_rules() { # by a copy that stands alone: refused for want of results, and not of rules
    mv "$installed" "$root/moved" && "$root/moved/bin/moe-a2a" accept --rules link-efficiency /nonexistent 2>"$work/err"
    mv "$root/moved" "$installed"
    grep -q "cannot open '/nonexistent'" "$work/err" || { cat "$work/err"; return 1; }
}
all_headers() {
    local header
    for header in include/moe/*.h; do holds "$header" || { echo "$header is missing"; return 1; }; done
}
check "every header is there" all_headers
check "README, licence and docs are there" holds share/doc/moe-a2a/README.md and holds share/doc/moe-a2a/LICENSE \
    and holds share/doc/moe-a2a/results.md
check "rules are there, and found by name where the prefix was moved to" holds share/moe-a2a/patterns/acceptance/link-efficiency.json \
    and finds_rules
check "the page and figures of the report are there" holds share/moe-a2a/plot/report.py and holds share/moe-a2a/plot/page/page.css \
    and holds share/moe-a2a/plot/figures/__init__.py
if tools/find-python matplotlib jinja2 >/dev/null 2>&1; then
    finds_plot() {
        mv "$installed" "$root/moved" && "$root/moved/bin/moe-a2a" report results/eight-ranks/pairs.jsonl -o "$work/report.html"
        local rc=$?
        mv "$root/moved" "$installed"
        return $rc
    }
    check "and found where the prefix was moved to, without leaving anything there" finds_plot and grep -q "</html>" "$work/report.html" \
        and test -z "$(find "$installed" -name __pycache__)"
else
    skip "no Python with matplotlib and jinja2" "and found where the prefix was moved to"
fi
finds_workloads() { "$installed/bin/moe-a2a" pattern --list --names | grep -qx incast; }
check "so are workloads" holds share/moe-a2a/patterns/workloads/incast.json and finds_workloads
if [ -f "$BUILD/sim/moe-a2a" ] && command -v smpirun >/dev/null; then
    simulates() { # where the prefix was moved to, by names of what comes along
        mv "$installed" "$root/moved" && "$root/moved/bin/moe-a2a-sim" --machine h800-ib --ranks 2 -- layer --workload incast --hidden 64 \
            --tokens 2 >"$work/out" 2>"$work/err"
        local rc=$?
        mv "$root/moved" "$installed"
        return $rc
    }
    check "what simulates is installed, and finds machines and workloads" simulates and grep -q 'SIMULATED.*h800-ib' "$work/out"
else
    skip "no SimGrid, or \`make sim\` was not run" "what simulates is installed"
fi
check "the package file names the prefix without DESTDIR" grep -qx "prefix=$prefix" "$installed/lib/pkgconfig/moe-a2a.pc"
nothing_outside() { ! files | grep -v "^\.$prefix/\(bin\|lib\|include/moe\|share/doc/moe-a2a\|share/moe-a2a\)/"; }
check "nothing lies elsewhere" nothing_outside
no_fakes() { ! files | grep -E 'fake|libcudart|libcublas|libnccl'; }
check "no stand-in of a test is among it" no_fakes

# ---- Headers ----
json_flags=$(${PKG_CONFIG:-pkg-config} --cflags jansson)
compiles() { # COMPILER STANDARD LANGUAGE HEADER
    # shellcheck disable=SC2086
    printf '#include "moe/%s"\n#include "moe/%s"\n' "$4" "$4" |
        "$1" -std="$2" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$installed/include" $json_flags -x "$3" -
}
for header in include/moe/*.h; do
    header=${header##*/}
    check "moe/$header compiles by itself, twice, as C11" compiles "$c_compiler" c11 c "$header"
    if command -v g++ >/dev/null; then
        check "moe/$header compiles by itself, twice, as C++11" compiles g++ c++11 c++ "$header"
    else
        skip "no C++ compiler here" "moe/$header compiles by itself as C++11"
    fi
done

# ---- The library, as a stranger links it ----
package() {
    PKG_CONFIG_PATH=$installed/lib/pkgconfig ${PKG_CONFIG:-pkg-config} --define-prefix "$@" moe-a2a
}
check "the package has the program's version" test "moe-a2a $(package --modversion)" = "$("$program" --version)"
cat >"$work/stranger.c" <<'SOURCE'
#include <moe/model.h>
#include <moe/routing.h>
#include <stdio.h>

int main(void)
{
    moe_model_t model;
    moe_params_t params;
    moe_error_t error = {0};
    if (moe_model_find("mixtral-8x7b", &model, &error) != MOE_OK ||
        moe_model_find("no such model", &model, &error) != MOE_BAD_INPUT) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    moe_model_params(&model, &params);
    moe_routing_spec_t routing = {.experts = model.experts, .top_k = model.top_k, .seed = 7};
    if (moe_gate_find("softmax", &routing.gate, &error) != MOE_OK ||
        moe_skew_parse("skew", "zipf:1.2", &routing.skew, &error) != MOE_OK ||
        moe_routing_check(&routing, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("%.0f\n", params.experts);
    return 0;
}
SOURCE
links() {
    # shellcheck disable=SC2046
    "$c_compiler" -std=c11 -Wall -Wextra -Werror "${sanitizer[@]}" -o "$work/stranger" "$work/stranger.c" \
        $(package --cflags --libs)
}
check "a program links the library by pkg-config alone" links
answers() { [ "$("$work/stranger")" = 45097156608 ]; }
check "and runs" answers
if command -v g++ >/dev/null; then
    printf '#include <moe/model.h>\n#include <cstdio>\nint main() { moe_model_t m; moe_error_t e = {}; return moe_model_find("dbrx", &m, &e); }\n' \
        >"$work/stranger.cc"
    links_cxx() {
        # shellcheck disable=SC2046
        g++ -std=c++11 -Wall -Wextra -Werror "${sanitizer[@]}" -o "$work/stranger_cxx" "$work/stranger.cc" \
            $(package --cflags --libs)
    }
    check "a C++ program links it too, and runs" links_cxx and "$work/stranger_cxx"
else
    skip "no C++ compiler here" "a C++ program links it too, and runs"
fi

check "make uninstall succeeds" make_here uninstall DESTDIR="$root" PREFIX=$prefix
nothing_left() { [ -z "$(files)" ] || { files; return 1; }; }
check "make uninstall leaves nothing" nothing_left
finish
