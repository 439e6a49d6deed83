#!/bin/bash
# What cannot be is refused before anything runs: exit 2, one message that names the option, no hang.
. tests/environment.sh
. tests/common/tap.sh
# A refusal takes no time; what takes long is a run that should not have been.
patience=60

# refuse EXPRESSION OPTION...: bare, by the command in $command
refuse() {
    local expression=$1; shift
    run "$command" "$@"
    check "$command $* is refused" refused_in_one_line "$expression"
}
# refuse_each EXPRESSION OPTION VALUE...: one option, each value by itself
refuse_each() {
    local expression=$1 option=$2 value; shift 2
    for value; do refuse "$expression" "$option" "$value"; done
}

# ---- Numbers: no numbers, out of range, not finite ----
command=pattern
for option in --tokens --hidden --expert-ffn --experts --top-k --layers --first-dense --moe-every --seq-len \
    --min-capacity --seed --ranks --ep --dp --ranks-per-node; do
    refuse_each "$option:? " $option -1 NaN 1e30 99999999999999999999 1.5 12x ''
done
for option in --hidden --expert-ffn --experts --top-k --layers --moe-every --seq-len --ranks --ep --dp --ranks-per-node; do
    refuse_each "$option:? " $option 0
done
refuse_each '--capacity-factor' --capacity-factor -1 NaN inf 1e30 '' 1.25x
refuse_each '--tokens' --tokens 2G
refuse_each '--hidden' --hidden 1G
refuse_each '--experts' --experts 1M
refuse_each '--top-k' --top-k 2K

# ---- Names ----
refuse_each '--model.*nearest: .*mixtral-8x7b' --model mixtral-8x7 mixtral
refuse_each '--dtype' --dtype bf17 '' int8
refuse_each '--combine-dtype' --combine-dtype fp64
refuse_each '--drop' --drop first
refuse_each '--gate.*softmax' --gate sofmax sigmoid-bias ''
refuse_each '--skew.*did you mean zipf' --skew zip:1
refuse_each '--skew' --skew '' zipf zipf: zipf:NaN zipf:-1 zipf:1e30 zipf:1,2 hot:2 hot:0,0.5 hot:2,1.5 hot:2,-1 hot:2,NaN \
    lognormal:-1 lognormal:1e30 dirichlet:0 dirichlet:-1 dirichlet:NaN uniform:1 balanced:2 :
refuse_each '--style.*padded' --style paded
refuse_each '--style' --style '' , exact,

# ---- Options themselves ----
refuse '--tokns.*nearest: --tokens' --tokns 4
refuse '--frobnicate' --frobnicate
refuse '-x' -x
refuse 'stray' stray
refuse '--tokens needs a value' --tokens
refuse '--quiet takes no value' --quiet=yes
refuse '--raw' --raw
run pattern --model deepseek-v3 --tokens
check "a missing value is told as such" refused_in_one_line '--tokens needs a value'

# ---- What does not go together ----
refuse '--top-k 9' --top-k 9
refuse '--top-k 5' --experts 4 --top-k 5
refuse '--gate.*top-k 1' --gate switch --top-k 2
refuse '--gate.*top-k 2' --gate gshard --top-k 3
refuse '--n-group and --topk-group' --gate group-limited
refuse '--n-group 7: does not divide 256' --model deepseek-v3 --n-group 7
refuse '--topk-group 9: more than --n-group 8' --model deepseek-v3 --topk-group 9
refuse '--topk-group 0' --experts 32 --n-group 4
refuse 'leaves a token 32 experts' --model deepseek-v3 --top-k 33 --topk-group 1
refuse '--skew.*9 hot' --skew hot:9,0.5
refuse '--layers' --layers 4 --first-dense 4
refuse '--layers' --layers 4 --moe-every 5
refuse '--ep 3' --ep 3
refuse '--ep 16' --ep 16
refuse '--dp 3' --dp 3
refuse '--ep 2 .*--dp 2' --ep 2 --dp 2
refuse '--json - and --csv -' --json - --csv -

# ---- Files ----
printf '0 1 2\n' >"$work/too-short"; printf '0 0 0 0 0 0 0 0 0\n' >"$work/too-long"; : >"$work/empty"
printf '0 0 0 0 0 0 0 8\n' >"$work/no-such-rank"; printf '0 0 x 0 0 0 0 0\n' >"$work/letters"
printf '0 0 0 0 0 0 0 -1\n' >"$work/negative"; head -c 4096 /dev/zero >"$work/zeros"
printf '0 0 0 0 0 0 0 99999999999999999999\n' >"$work/huge"
for file in too-short too-long empty no-such-rank letters negative zeros huge nowhere .; do
    refuse --placement --placement "$work/$file"
done
refuse --json --json /nowhere/records
refuse --json --json "$work"
refuse --csv --csv /nowhere/records
refuse --csv --csv "$work"
refuse --json --json ''
if [ "$(id -u)" != 0 ]; then
    printf '0 0 0 0 0 0 0 0\n' >"$work/unreadable"; chmod 0 "$work/unreadable"
    refuse --placement --placement "$work/unreadable"
    refuse --json --json "$work/unreadable"
else
    skip "root may read and write everything" "an unreadable file is refused" "a file without permission is refused"
fi

# ---- Exchange and measuring ----
command=layer
refuse_each '--transport' --transport tcp ''
refuse '--transport nccl.*(NCCL|--device cuda)' --transport nccl
CUDA_VISIBLE_DEVICES='' refuse '--device cuda.*CUDA' --device cuda
refuse '--device' --device gpu
refuse '--device cuda.*loopback' --device cuda --transport loopback
refuse '--share-gpu.*--device cuda' --share-gpu
for option in --graph '--nccl-register window' '--nccl-ctas 1,2' '--nccl-channels-per-peer 2'; do
    # shellcheck disable=SC2086
    refuse "${option%% *}.*--transport nccl" $option
done
if [ -d "$BUILD/tests/fakes/gpu" ] && "$program" info | grep -q '^transports.* nccl'; then
    for value in 0,2 4,2 4 4, ,4 a,b 1,100000; do
        refuse '--nccl-ctas' --transport nccl --device cuda --nccl-ctas $value
    done
    for value in 0 -1 1e30; do
        refuse '--nccl-channels-per-peer' --transport nccl --device cuda --nccl-channels-per-peer $value
    done
    refuse '--nccl-register' --transport nccl --device cuda --nccl-register all
fi
refuse_each '--algorithm.*native' --algorithm natve
refuse_each '--algorithm' --algorithm '' , native,,linear
for option in --warmup --min-reps --max-reps; do
    refuse_each "$option" $option -1 NaN 1e30
done
refuse_each '--min-reps' --min-reps 0
refuse_each '--max-reps' --max-reps 0
refuse '--min-reps 10.*--max-reps 5' --min-reps 10 --max-reps 5
refuse_each '--max-seconds' --max-seconds -1 NaN inf 1e30 5min 0
refuse_each '--timeout' --timeout 0 -1 NaN inf 1e30
refuse_each '--ci' --ci -1 NaN 101 1e30
refuse_each '--sync' --sync soon
refuse_each '--check' --check some
refuse '--compute' --compute none

command=iteration
refuse_each '--compute' --compute '' fast gemm:1 none:1 model model: model:1e12 model:1e12,0 model:1e12,2 model:NaN,0.5 \
    model:1e12,NaN model:-1,0.5 model:1e30,0.5 model:1e12,0.5,3 gpu gpu: gpu:h1000 gpu:h100,2 gpu:h100,NaN
refuse_each '--pass' --pass backward ''
refuse_each '--overlap' --overlap '' all chunks chunks: chunks:0 chunks:1 chunks:-2 chunks:1000 chunks:2,3
refuse '--overlap.*tokens' --tokens 1 --overlap chunks:2
refuse_each '--threads' --threads -1 NaN 1e30
refuse_each '--measure-layers' --measure-layers -1 1.5 1e30

# ---- More than the memory holds: refused by arithmetic, at once ----
at_once() { [ $seconds -le 30 ]; }
loopback=(--transport loopback --ranks 2)
for command in layer iteration; do
    for size in "--tokens 1G" "--tokens 1G --model deepseek-v3" "--tokens 100M --hidden 64K" \
        "--tokens 1M --style padded --capacity-factor 1000000"; do
        # shellcheck disable=SC2086
        run $command "${loopback[@]}" $size
        check "$command $size is refused with the figure, what there is, and the option to lower" \
            refused_in_one_line 'need [0-9.]+ [GTPE]iB, [0-9.]+ [MGT]iB are available.*lower --' and at_once
    done
done
run layer --transport loopback --ranks 2K
check "more threads than can be ranks are refused" refused_in_one_line --ranks

# ---- What looks wrong and is not ----
few=(--model switch-base-8 --max-seconds 0.1 --quiet)
run layer "${loopback[@]}" "${few[@]}" --tokens 0
check "0 tokens are legal" done_well
run layer "${loopback[@]}" "${few[@]}" --tokens 16 --max-reps 3
check "fewer repetitions at most than the usual least are legal" done_well
run layer "${loopback[@]}" "${few[@]}" --tokens 16 --seed 9223372036854775807
check "the largest seed is legal" done_well
run layer "${loopback[@]}" "${few[@]}" --tokens 16 --json /dev/full
check "a disk that is full ends the run with 4 and one message" ended_with 4 and messages 1 and said '--json.*/dev/full'

# ---- Under a launcher: one rank speaks ----
one_speaks() { ended_with 2 && messages 1 && grep -qE "^moe-a2a.*$1" "$work/out" "$work/err"; }
# one_of STATEMENT EXPRESSION OPTION...: 3 ranks, all with the same options
one_of() {
    local statement=$1 expression=$2; shift 2
    if [ -z "$MPIRUN" ]; then skip "no MPI here" "$statement"; return; fi
    run_ranks 3 "$@"
    check "3 ranks: $statement" one_speaks "$expression"
}
few=(layer --model switch-base-8 --tokens 16 --max-seconds 0.1 --quiet)
one_of "a bad value" --tokens "${few[@]}" --tokens NaN
one_of "an unknown option" 'nearest: --tokens' "${few[@]}" --tokns 4
one_of "ep that does not divide the ranks" --ep "${few[@]}" --ep 2
one_of "--ranks against the launcher" --ranks "${few[@]}" --ranks 4
one_of "a placement that cannot be read" --placement "${few[@]}" --placement /nowhere
one_of "a file that cannot be written" --json "${few[@]}" --json /nowhere/records
one_of "rows that do not fit memory" 'need .*iB.*lower --' "${few[@]}" --tokens 64M --hidden 64K
one_of "threads as ranks" --transport "${few[@]}" --transport loopback
one_of "a command that needs no ranks" pattern pattern --tokens -1
one_of "an unknown command" 'nearest: layer' layr

# differently STATEMENT EXPRESSION OPTION... : OPTION...: rank 0, and two ranks that were started differently
differently() {
    local statement=$1 expression=$2 first=(); shift 2
    if [ -z "$MPIRUN" ]; then skip "no MPI here" "$statement"; return; fi
    while [ "$1" != : ]; do first+=("$1"); shift; done
    shift
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np 1 "$program" "${first[@]}" : -np 2 "$program" "$@"
    check "$statement" one_speaks "$expression"
}
differently "another value on one rank is refused" '--tokens=17' "${few[@]}" : "${few[@]}" --tokens 17
differently "another file is refused" --json "${few[@]}" --json "$work/a" : "${few[@]}" --json "$work/b"
differently "another command is refused" iteration "${few[@]}" : iteration "${few[@]:1}"
differently "a bad value on other ranks than the first is told" --tokens "${few[@]}" : "${few[@]}" --tokens -1
differently "a bad value on the first rank alone is told" --tokens "${few[@]}" --tokens -1 : "${few[@]}"
differently "ranks with different mistakes speak once" --tokens "${few[@]}" --tokens -1 : "${few[@]}" --hidden -1
differently "another transport on one rank is refused" --transport "${few[@]}" : "${few[@]}" --transport loopback
differently "an unknown command on one rank is refused" 'no such command' "${few[@]}" : layr
differently "a command without ranks on one rank is refused" pattern "${few[@]}" : pattern
finish
