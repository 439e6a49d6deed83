#!/bin/bash
# plot/plot.py: figures of the runs that are kept in results/, and what it refuses.
. tests/environment.sh
. tests/common/tap.sh

if ! python=$(tools/find-python matplotlib 2>"$work/said"); then
    skip "$(cat "$work/said")" "figures show what stands in the records"
    finish
    exit 0
fi
kept=results/eight-ranks
plot() { keep_run "$python" plot/plot.py "$@"; }
all=breakdown,size,skew,matrix,pairs,repetitions,comparison,ranks,reproduction
refused_by_plot() { ended_with 2 && [ "$(grep -c . "$work/err")" = 1 ] && said "^plot.py: .*$1"; }
# drawn FORMAT...: every figure of the table is there, and every file is whole
drawn() {
    local figure format
    for figure in ${all//,/ } styles; do
        for format; do
            compgen -G "$work/figures/$figure*.$format" >/dev/null || { echo "no $figure.$format"; return 1; }
        done
    done
    for file in "$work"/figures/*; do
        case $file in
        *.svg) "$python" -c 'import sys, xml.etree.ElementTree as t; t.parse(sys.argv[1])' "$file" || return 1 ;;
        *) [[ $(head -c 4 "$file") == *PNG || $(head -c 4 "$file") == %PDF ]] || { echo "$file is none"; return 1; } ;;
        esac
    done
}

"$python" tests/plot/test_figures.py >"$work/figures.tap" 2>&1
sed 's/^/#   /' "$work/figures.tap" | grep -v '#   ok' | head -40
ok_in_python() { ! grep -v '^ok\|^1\.\.' "$work/figures.tap" && [ "$(grep -c ^ok "$work/figures.tap")" = "$(sed -n 's/^1\.\.//p' "$work/figures.tap")" ]; }
check "figures show what stands in the records (tests/plot/test_figures.py)" ok_in_python

plot $kept/{layer,layer-tcp,iteration,pairs,sizes,skew}.jsonl results/{sim-scaling,reproduce}.jsonl -o "$work/figures" --dpi 40 --only $all --program "$program"
check "figures are drawn from what is kept in results" done_well
check "it prints the names of its files" printed "$work/figures/breakdown.png"
plot $kept/layer-tcp.jsonl -o "$work/figures" --format svg,pdf,png --only styles
check "SVG and PDF too" done_well and test -s "$work/figures/styles.svg" and test -s "$work/figures/styles.pdf" and drawn png

# What the program writes now, not what was kept.
"$program" reproduce schemoe-table1 --quiet --json "$work/reproduce.jsonl"
plot "$work/reproduce.jsonl" -o "$work/reproduced" --format svg
check "published figures and ours are drawn from what reproduce writes" done_well \
    and printed "^$work/reproduced/reproduction.svg$" and test -s "$work/reproduced/reproduction.svg"
plot "$work/reproduce.jsonl" --only matrix -o "$work/none"
check "and for other figures there is nothing in it" refused_by_plot "nothing to draw"
: >"$work/empty.jsonl"
plot "$work/empty.jsonl" -o "$work/none"
check "an empty file is refused" refused_by_plot "is empty"
plot README.md -o "$work/none"
check "a foreign file is refused" refused_by_plot "README.md:1: not JSON Lines"
plot "$work/missing.jsonl"
check "so is a file that is not there" refused_by_plot "cannot read '$work/missing.jsonl'"
plot $kept/iteration.jsonl -o "$work/none" --only skew
check "nothing to draw is said" refused_by_plot "nothing to draw"
plot $kept/iteration.jsonl --format bmp
check "formats are those that there are" refused_by_plot "--format bmp: there is png, svg, pdf"
check "and nothing was written" test ! -e "$work/none"
finish
