#!/bin/bash
# moe-a2a report: the page that it writes, what it refuses, and the page in a browser where there is one.
. tests/environment.sh
. tests/common/tap.sh

kept=results/eight-ranks page=$work/page.html
if ! python=$(tools/find-python matplotlib jinja2 2>"$work/said"); then
    skip "$(cat "$work/said")" "the page says what the records hold" "a report is written from runs of 8 ranks"
    run report $kept/layer.jsonl -o "$page"
    check "without Python's parts it says how to get them" refused "apt-get install"
    finish
    exit 0
fi

# A build that lies outside of the tree does not find plot/: it is put beside.
program=$work/tree/build/moe-a2a
mkdir -p "$work/tree/build" && ln -s "$PWD/plot" "$work/tree/plot" && cp "$BUILD/moe-a2a" "$program"
cp $kept/*.jsonl "$work"
report() { run report "$@" -o "$page"; }
on_page() { grep -q -- "$1" "$page" || { echo "'$1' is not on the page"; return 1; }; }
no_page() { [ ! -e "$page" ]; }

"$python" tests/plot/test_report.py >"$work/report.tap" 2>&1
sed 's/^/#   /' "$work/report.tap" | grep -v '#   ok' | head -40
ok_in_python() { ! grep -v '^ok\|^1\.\.' "$work/report.tap" && [ "$(grep -c ^ok "$work/report.tap")" = "$(sed -n 's/^1\.\.//p' "$work/report.tap")" ]; }
check "the page says what the records hold (tests/plot/test_report.py)" ok_in_python

# ---- What is refused ----
run report
check "no file is refused" refused "no file"
report "$work/missing.jsonl"
check "a missing file is refused" refused "missing.jsonl" and no_page
report README.md
check "a foreign file is refused" refused "README.md.*not JSON Lines" and no_page
"$program" accept --rules patterns/acceptance/layer-correct.json "$work/layer.jsonl" --quiet --json "$work/verdict.jsonl"
report "$work/verdict.jsonl"
check "verdicts without their results are refused" refused "conclusions only" and no_page
run report "$work/layer.jsonl" -o "$work/nowhere/page.html"
check "so is a folder that is not there" ended_with 2 and said "cannot write '$work/nowhere/page.html'"
check "nothing is left behind" test -z "$(find "$work" -name '.report-*')"
# Pythons that lack something: found first, and no better one of the system is looked at
mkdir "$work/bin" && printf '#!/bin/sh\nexit 42\n' >"$work/bin/python3" && chmod +x "$work/bin/python3"
if [ "$python" != /usr/bin/python3 ] && ! /usr/bin/python3 -c 'import jinja2, matplotlib' 2>/dev/null; then
    PATH=$work/bin:$PATH report "$work/layer.jsonl"
    check "a Python without Jinja2 is told how to get it" refused "python3 lacks jinja2.*apt-get install"
else
    PATH=$work/bin:$PATH run report "$work/pairs.jsonl" -o -
    check "a Python that lacks parts is passed over for the system's, and - is stdout" done_well and printed "^</html>"
fi
rm -f "$page"

# ---- A page ----
report results/reproduce.jsonl
check "published figures beside ours are no results by themselves" refused "conclusions only" and no_page
report "$work"/{iteration,layer,layer-tcp,sizes,pairs,verdict}.jsonl results/reproduce.jsonl
check "a report is written from runs of 8 ranks" done_well and on_page "On 8 ranks, exact (native) dispatch and combine take" \
    and on_page "How many times as fast is B (layer-tcp) as A (layer)" and on_page "rtx4090-qwen3-30b" and on_page "</html>"
check "it says nothing else" test ! -s "$work/out" and test ! -s "$work/err"

# ---- In a browser ----
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
statements=("Chromium opens it without an error, and it works in a wide window" "and in a narrow one")
if [ -z "$browser" ]; then
    skip "no Chromium here (Debian: apt-get install chromium)" "${statements[@]}"
    finish
    exit 0
fi
# A copy with the test in it, which the page's policy is told of as of its own script.
"$python" - "$page" tests/plot/page_test.js >"$work/test.html" <<'END'
import base64, hashlib, sys
page, script = (open(name, encoding="utf-8").read() for name in sys.argv[1:])
digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
page = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
print(page.replace("</body>", f"<script>{script}</script></body>"))
END
# works WIDTH: nothing is said on the console, and every line of the test's outcome is ok
works() {
    timeout -k 5 60 "$browser" --headless=new --no-sandbox --disable-gpu --no-first-run --user-data-dir="$work/browser" \
        --enable-logging=stderr --window-size="$1,1000" --dump-dom "file://$work/test.html" >"$work/dom" 2>"$work/log" </dev/null
    sed -n '/<pre id="outcome">/,/<\/pre>/p' "$work/dom" | sed 's/<[^>]*>//g' >"$work/outcome"
    ! grep -E 'CONSOLE|Refused to|net::ERR' "$work/log" && ! grep '^not ok' "$work/outcome" && [ "$(grep -c '^ok' "$work/outcome")" = 11 ]
}
check "${statements[0]}" works 1280
check "${statements[1]}" works 500
finish
