#!/bin/bash
# moe-a2a reproduce: published figures beside ours.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/figures.jsonl
figures=patterns/reproduce

reproduce() { rm -f "$json"; run reproduce "$1" --json "$json"; }
refuse() { local expression=$1; shift; run reproduce "$@"; check "reproduce $* is refused" refused_in_one_line "$expression"; }

# The range takes seconds and is one of the last checks.
for file in "$figures"/*.json; do
    name=$(basename "$file" .json)
    kind=$(sed -n 's/^  "kind": "\(.*\)",$/\1/p' "$file")
    case $kind in
    exact)
        reproduce "$file"
        check "$name: every figure is equal to the published digits" done_well and every_record "$json" \
            record=reproduction -- verdict kind :: '($1 == "equal" || $1 == "within") && $2 == "exact"'
        ;;
    measured)
        check "$name says what the publication gives, leaves open, what is assumed, why it differs" \
            grep -q '"gives"' "$file" and grep -q '"open"' "$file" and grep -q '"assumed"' "$file" and grep -q '"deviation"' "$file"
        [ "$name" = scalemoe-padding ] && continue # a million tokens
        reproduce "$file"
        check "$name is predicted, and shown with its deviation" done_well and printed 'deviation' \
            and every_record "$json" record=reproduction -- ours published :: '$1 > 0 && $2 > 0'
        ;;
    range) ;;
    *) check "$name is of a known kind" false ;;
    esac
done
check "every file is described by its name" test "$(grep -l '"source"' "$figures"/*.json | wc -l)" = "$(ls "$figures" | wc -l)"

reproduce "$figures/rtx4090-qwen3-30b.json"
check "the layer of Qwen3-30B on RTX 4090 is within 5 %" every_record "$json" record=reproduction -- verdict deviation :: \
    '$1 == "within" && $2 < 0.05 && $2 > -0.05'
reproduce "$figures/schemoe-table1.json"
check "the share of ScheMoE is within 6 points, with K stated" every_record "$json" record=reproduction quantity=share_percent -- \
    verdict :: '$1 == "within"' and printed 'assumed: K = 2'

# One pair of the range, so that it does not take seconds.
sed '/"models"/s/\[.*\]/["dbrx"]/; /"machines"/,/\]/s/.*"machines".*/  "machines": ["patterns\/machines\/a100.json"],/' \
    "$figures/lecture-a2a-share.json" >"$work/range.json"
reproduce "$work/range.json"
check "a share without a configuration is looked for, and its ranges are named" done_well and printed 'dbrx .*1 to 4' \
    and printed 'configurations are inside' and every_record "$json" record=reproduction -- share_percent inside capacity_factor low high :: \
    '$1 > $4 && $1 < $5 && $2 == "true" && $3 >= 1 && $4 == 44.4 && $5 == 68.4'

# ---- Beside what was simulated ----
rm -f "$json"
echo '{"record":"simulation","name":"schemoe-table1","case":"12 layers","quantity":"a2a_ms","simulated":277.86}' >"$work/simulated.jsonl"
run reproduce schemoe-table1 --simulated "$work/simulated.jsonl" --json "$json"
check "simulated figures stand beside predicted ones, with their deviation" done_well and printed 'SIMULATED' \
    and printed '12 layers +a2a_ms .* 277.86 +\+10.0 %' \
    and record_count "$json" 1 record=reproduction simulated=277.86
run reproduce lina-table1 --simulated "$work/simulated.jsonl"
check "and only where there are some" done_well and not printed 'SIMULATED'
run reproduce all --simulated results/sim-reproduce.jsonl
check "what was kept of simulations belongs to figures that there are" done_well and test "$(grep -c SIMULATED "$work/out")" = 4 \
    and not printed 'belong to no published one'
sed 's/12 layers/13 layers/' "$work/simulated.jsonl" >"$work/renamed.jsonl"
run reproduce all --simulated "$work/renamed.jsonl"
check "what does not is counted" done_well and printed '^1 simulated figures belong to no published one'
run reproduce schemoe-table1 --simulated "$work/nowhere.jsonl"
check "a file that is not there is refused" ended_with 2 and said '--simulated: .*nowhere.jsonl'
for line in '{"record":"simulation"}' '[' '{"record":"simulation","name":"a","case":"b","quantity":"c","simulated":"1"}' '{"record":"run"}' \
    '{"record":"simulation","name":"a","case":"b","quantity":"c","simulated":-5}'; do
    printf '%s\n\n%s\n' "$(cat "$work/simulated.jsonl")" "$line" >"$work/bad.jsonl"
    run reproduce schemoe-table1 --simulated "$work/bad.jsonl"
    check "$line is no simulated figure" ended_with 2 and said 'bad.jsonl:3: '
done

# ---- What is wrong ----
sed 's/"8192"/"8193"/' "$figures/token-bytes.json" >"$work/wrong.json"
run reproduce "$work/wrong.json"
check "another digit than ours is an error of status 1" ended_with 1 and printed 'NOT EQUAL' and said '1 exact figures are not equal'
sed 's/"64.1"/"74.1"/' "$figures/rtx4090-qwen3-30b.json" >"$work/wrong.json"
run reproduce "$work/wrong.json"
check "so is one outside of what its entry allows" ended_with 1 and printed 'OUTSIDE' and said '1 are outside'
refuse 'give a NAME' --quiet
refuse 'give a NAME' --list all
refuse 'no file .nothing.' nothing
bad() { # EXPRESSION FILE SED
    sed -E "$3" "$figures/$2.json" >"$work/bad.json"
    run reproduce "$work/bad.json"
    check "an entry with $3 is refused" refused_bad "$1"
}
refused_bad() { ended_with 2 && said "bad.json.*$1"; }
bad 'schema' token-bytes 's/"schema": 1/"schema": 3/'
bad 'source' token-bytes '/"source"/d'
bad 'kind .guess.' token-bytes 's/"exact"/"guess"/'
bad 'no such arithmetic' token-bytes 's/"check": "[^"]*"/"check": "magic"/'
bad 'no such field' token-bytes 's/"check":/"cheque": 1, "check":/'
bad 'case 1: .*no text' token-bytes 's/"8192"/8192/'
bad 'states nothing' token-bytes 's/"bytes"/"bites"/'
bad 'case 1: .*no such option' rtx4090-qwen3-30b 's/"--tokens"/"--wings"/'
bad 'case 1: .*no machine' rtx4090-qwen3-30b 's/"4090"/"4091"/'
bad 'shape.wings' rtx4090-qwen3-30b 's/"heads"/"wings"/'
bad 'published.magic' rtx4090-qwen3-30b 's/"published": \{"iteration_ms"/"published": {"magic"/'
bad 'within.iteration_msec: no row publishes it' rtx4090-qwen3-30b 's/"within": \{"iteration_ms"/"within": {"iteration_msec"/'
bad 'within.iteration_ms.percents' rtx4090-qwen3-30b 's/"percent"/"percents"/'
bad 'within.iteration_ms.percent: .*numbers' rtx4090-qwen3-30b 's/"percent": 5/"percent": "5"/'
bad 'states nothing' rtx4090-qwen3-30b 's/"published": \{[^}]*\}/"published": {}/'
bad 'choices.0.: is no expert, a whole number below 8' four-gpus-eight-experts 's/"choices": .2/"choices": [67/'
bad 'choices.1.: is no expert' four-gpus-eight-experts 's/"choices": .2, 7/"choices": [2, -1/'
bad 'dispatch_GBps: these options give none' rtx4090-qwen3-30b 's/"published": \{[^}]*\}/"published": {"dispatch_GBps": "1"}/; s/"8"/"1"/; s/"4096"/"0"/; /"within"/d'
head -c 3000 /dev/urandom >"$work/bad.json"; run reproduce "$work/bad.json"; check "noise is no entry" refused_bad
finish
