#!/bin/bash
# Files that others write and read: patterns imported, exported, and carried to another place.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/formats.jsonl
samples=patterns/samples
same_file() { cmp "$1" "$2"; }
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
pattern() { run pattern --quiet --json - "$@"; cp "$work/out" "$json"; }
field() { records "$json" "$@"; }

# ---- Import: every sample is recognised ----
while read -r file format kind experts; do
    pattern --import auto "$samples/$file"
    check "$file is known as $format" done_well and every_record "$json" record=import -- format kind experts :: \
        "\$1 == \"$format\" && \$2 == \"$kind\" && \$3 == \"$experts\""
done <<END
megatron.jsonl megatron choices 8
vllm-i2.npy vllm choices 8
vllm-u1.npy vllm choices 8
vllm-load-f4.npy vllm-load counts 4
sglang-logical-count.json sglang counts 4
sglang-physical-to-logical-map.json sglang map 4
trtllm-pattern.json trtllm counts 8
eplb-weight.json eplb counts 4
selections.csv counts-csv counts 8
counts.csv counts-csv counts 4
END
run pattern --import vllm $samples/vllm-i8-big-endian.npy
check "a table shows what a file holds, and the load of each layer" done_well and printed '^holds +6 tokens, 2 layers' \
    and printed '^ +1 +18 '
run pattern --import auto $samples/vllm-load-i4.npy
check "what may be loads or choices is not guessed" refused 'may be vllm-load or vllm: say which'
run pattern --import auto $samples/matrix.csv
check "nor is what may be counts or a matrix" refused 'may be counts-csv or csv: say which'
run pattern --import ucc2 x
check "a format that there is not is refused with those that there are" refused "no format 'ucc2'.*nccl-tests"
run pattern --import vllm
check "a format without a file is refused" refused 'a FILE must follow'
run pattern --import vllm --tokens 3
check "so is one before another option" refused 'a FILE must follow'
run pattern --import eplb $samples/eplb-weight.json --export moe "$work/x"
check "counts cannot become choices" refused 'only choices of tokens can be written'
run pattern --import ucc $samples/matrix-ucc.ptini --export moe "$work/x"
check "nor can a matrix" refused 'a matrix has no choices'
run pattern --import eplb $samples/eplb-weight.json --export ucc "$work/x"
check "counts say nothing of who sends what" refused 'says nothing of which rank sends what'
run pattern --import trtllm $samples/trtllm-pattern.json --hidden 1024 --export nccl-tests "$work/trtllm"
check "a pattern of TensorRT-LLM gives the bytes of its selections" done_well \
    and same "$(head -1 "$work/trtllm")" "10240 0 2048 4096"

# ---- Matrices: the same hash by every way, byte-identical back ----
shape=(--experts 64 --top-k 8 --tokens 50 --hidden 64 --layers 4)
for layout in "--ranks 5" "--ranks 6 --ep 3"; do
    # shellcheck disable=SC2086
    pattern "${shape[@]}" $layout --skew zipf:1.0 --style exact --capacity-factor 1.1
    hash=$(field record=traffic phase=dispatch -- matrix_hash)
    for format in nccl-tests ucc csv csv-fractions; do
        # shellcheck disable=SC2086
        run pattern "${shape[@]}" $layout --skew zipf:1.0 --style exact --capacity-factor 1.1 --export $format "$work/one"
        largest=$(sed -n 's/.*largest block \([0-9]*\) bytes.*/\1/p' "$work/out")
        pattern --import $format "$work/one" --matrix-bytes "$largest" --export $format "$work/two"
        check "$format, $layout: out, in and out again is the same to the byte, and has the same hash" done_well \
            and same_file "$work/one" "$work/two" and same "$(field record=import -- matrix_hash)" "$hash"
    done
done
for file in matrix-nccl-tests.txt matrix-ucc.ptini matrix.csv matrix-fractions.csv; do
    case $file in *.txt) format=nccl-tests ;; *.ptini) format=ucc ;; *) format=csv ;; esac
    pattern --import $format $samples/$file --matrix-bytes 65536
    hashes="$hashes $(field record=import -- matrix_hash)"
    run_loopback 3 alltoallv --matrix $samples/$file --matrix-bytes 65536 --max-reps 3 --warmup 0 --quiet --json -
    cp "$work/out" "$json"
    hashes="$hashes $(records "$json" record=exchange phase=alltoallv -- matrix_hash)"
done
check "samples of all formats of matrices have one hash, in pattern and in alltoallv" \
    same "$(echo "$hashes" | tr ' ' '\n' | sort -u | grep -c .)" 1
run_loopback 3 alltoallv --matrix $samples/matrix-fractions.csv
check "fractions need the size of a message" refused 'matrix-bytes'
run_loopback 3 alltoallv --sizes 1K --matrix-bytes 5
check "the size of a message needs a matrix" refused 'no matrix'
run pattern "${shape[@]}" --ranks 4 --style dedup --export ucc "$work/x"
check "a style that is not of blocks is not exported" refused 'style dedup'

# ---- The own format: a pattern carried to another place ----
while read -r layout; do
    # shellcheck disable=SC2086
    pattern "${shape[@]}" $layout --skew lognormal:1.2 --capacity-factor 1 --drop probability --export moe "$work/one.moe"
    before=$(field record=run -- routing.hash load.max_over_mean capacity.drop_share; field record=traffic -- matrix_hash)
    # shellcheck disable=SC2086
    pattern "${shape[@]}" $layout --skew "trace:$work/one.moe" --capacity-factor 1 --drop probability \
        --export moe "$work/two.moe"
    after=$(field record=run -- routing.hash load.max_over_mean capacity.drop_share; field record=traffic -- matrix_hash)
    check "$layout: the same routing, drops and matrices, and the same file again" done_well \
        and same "$before" "$after" and same_file "$work/one.moe" "$work/two.moe"
done <<END
--ranks 4
--ranks 6 --ep 2
--ranks 3 --gate group-limited --n-group 8 --topk-group 4
--ranks 1 --model deepseek-v2-lite
END
run pattern --import auto "$work/one.moe" --export moe "$work/three.moe"
check "imported and exported it is the same file" done_well and same_file "$work/one.moe" "$work/three.moe"
# Without steps of its own a step goes on where the last one ended, rank by rank too.
pattern "${shape[@]}" --ranks 4 --tokens 16 --export moe "$work/long.moe"
pattern "${shape[@]}" --ranks 4 --tokens 8 --skew "trace:$work/long.moe" --steps 2 --style exact
check "two steps of half the tokens are other halves, and nothing repeats" done_well and not printed REPEAT \
    and same 2 "$(field record=traffic phase=dispatch -- matrix_hash | sort -u | wc -l)" and same "1 1" "$(field record=run -- routing.trace.repeats_tokens | xargs)"
pattern "${shape[@]}" --ranks 4 --tokens 8 --skew "trace:$work/long.moe" --steps 3 --style exact
check "a third step repeats the first, and it says so" done_well and \
    same 2 "$(field record=traffic phase=dispatch -- matrix_hash | sort -u | wc -l)" and same "1.5 1.5 1.5" "$(field record=run -- routing.trace.repeats_tokens | xargs)"
pattern --hidden 64 --experts 16 --top-k 2 --layers 2 --ranks 8 --tokens 32 --skew zipf:1 --export moe "$work/eight.moe"
run predict --machine h800-ib --hidden 64 --experts 16 --top-k 2 --layers 2 --ranks 8 --ep 8 --tokens 32 --skew "trace:$work/eight.moe" --sample-tokens 1
check "some ranks of a trace do not stand for the others" refused 'trace: each rank takes the choices of its own number.*--sample-tokens'
run pattern --import vllm $samples/vllm-i2.npy --export moe "$work/more.moe"
pattern --hidden 64 --experts 12 --top-k 3 --ranks 2 --tokens 4 --skew "trace:$work/more.moe"
check "a trace that does not tell how many experts there are takes a larger model by way of our format too" done_well
if [ -n "$MPIRUN" ]; then
    rm -f "$json"
    run_ranks 2 layer "${shape[@]}" --skew "trace:$samples/megatron.jsonl" --experts 8 --top-k 3 --style exact,padded-max \
        --max-reps 2 --warmup 0 --json "$json"
    check "ranks route by a trace, and every byte is right" done_well and printed 'each rank takes the choices' \
        and printed 'they REPEAT' and every_record "$json" record=run routing.trace.dealt='by rank' -- \
        routing.trace.format routing.trace.tokens :: '$1 == "megatron" && $2 == 28'
else
    skip "no MPI" "ranks route by a trace, and every byte is right"
fi
run_loopback 3 layer --experts 8 --top-k 3 --hidden 32 --tokens 9 --skew trace:$samples/vllm-i2.npy --style all \
    --max-reps 2 --warmup 0 --quiet --json -
check "all styles carry a trace, and every byte is right" done_well
run_loopback 2 layer --experts 8 --top-k 3 --hidden 32 --tokens 9 --skew counts:$samples/trtllm-pattern.json \
    --style exact --max-reps 2 --warmup 0
check "all styles carry what counts make popular" done_well and printed 'popularity of experts: counts'
run pattern --skew trace:$samples/vllm-i2.npy
check "a trace of another top-k is refused with both" refused "--skew.*choose 3 experts, the model's choose 2"

# ---- A million tokens ----
million() { # tokens of top-8, as vLLM writes them: 1,000 rows, again and again
    local rows=()
    LC_ALL=C awk 'BEGIN { for (t = 0; t < 1000; t++) for (k = 0; k < 8; k++) printf "%c", 1 + t % 55 + k }' >"$work/rows"
    mapfile -t rows < <(yes "$work/rows" | head -1000)
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 8), }"
    cat "${rows[@]}"
}
million >"$work/million.npy"
run pattern --import vllm "$work/million.npy" --export moe "$work/million.moe"
check "a trace of 1,000,000 tokens of top-8 is read" done_well and printed '1000000 tokens, 1 layer; top-8 of 63'
if [ -z "$SANITIZE" ]; then
    for file in million.npy million.moe; do
        check "and in 200 MB: $file" bash -c "ulimit -d 200000; exec '$program' pattern --import auto '$work/$file' --quiet"
    done
else
    skip "sanitizers take memory of their own" "and in 200 MB: million.npy" "and in 200 MB: million.moe"
fi
finish
