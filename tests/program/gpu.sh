#!/bin/bash
# Rows in memory of GPUs, over NCCL and over MPI: the program that users run, on libraries of tests/fakes/gpu in place
# of CUDA's, cuBLAS's and NCCL's. They work on host memory and over MPI, so times mean nothing here; bytes, order,
# records and faults do. On a machine with GPUs `make check-gpu` runs the real thing.
. tests/environment.sh
. tests/common/tap.sh

build_json_query || exit 1
json=$work/gpu.jsonl
fakes=$(realpath "$BUILD")/tests/fakes/gpu
case=(--model olmoe-1b-7b --tokens 16 --hidden 256 --skew zipf:1.0)
short=(--warmup 1 --max-reps 3 --max-seconds 1 --timeout 60)

same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
# gpu "VARIABLE=VALUE ..." RANKS COMMAND OPTION...: on the fakes; leaves the records in $json
gpu() {
    local variables=$1 ranks=$2 command=$3; shift 3
    rm -f "$json"
    # shellcheck disable=SC2086
    keep_run "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" env LD_LIBRARY_PATH="$fakes" $variables "$program" "$command" \
        "${short[@]}" --json "$json" --device cuda "$@"
}
sound() { done_well && every_record "$json" record=exchange -- errors reps median_us :: '$1 == 0 && $2 > 0 && $3 >= 0'; }
sound_iteration() { done_well && every_record "$json" record=iteration -- errors reps :: '$1 == 0 && $2 > 0'; }

# ---- Without a GPU, without CUDA ----
export CUDA_VISIBLE_DEVICES=''
run layer --device cuda
check "without a GPU --device cuda is refused in one line" refused_in_one_line '--device cuda.*CUDA'
run info
if ! "$program" info | grep -q '^devices.* cuda'; then
    check "info says that CUDA was not built in, and how to get it" printed 'no cuda: .*CUDA_HOME'
    skip "built without CUDA" "NCCL and CUDA on fakes"
    finish
    exit
fi
check "info says what is built in and that there is no GPU" printed '^transports.*' and printed '^gpus +CUDA runtime [0-9]' and \
    printed 'no CUDA device was found'
run layer --tokens 8 --quiet "${short[@]}"
check "the same program runs on host memory" done_well
unset CUDA_VISIBLE_DEVICES

# ---- Which GPU ----
gpu "" 3 layer --transport mpi "${case[@]}" --style exact
check "each rank has a GPU of its own, and record and table say which" sound and printed '^ +rank 2: GPU 2 of .*' and \
    every_record "$json" record=run -- gpus device :: '$1 == 3 && $2 != "-"'
check "rows in GPU memory that this MPI does not take are staged, and record and table say so" \
    every_record "$json" record=run -- staging transport :: '($1 == "pinned" || $1 == "none") && $2 == "mpi"' and printed '^staging '
gpu MOE_FAKE_GPUS=2 3 layer --transport mpi "${case[@]}"
check "more ranks than GPUs are refused, once, with the remedy" refused '3 ranks and 2 GPUs.*--share-gpu'
gpu MOE_FAKE_GPUS=0 2 layer --transport mpi "${case[@]}"
check "no GPU is refused, once" refused '--device cuda.*no CUDA device'
gpu MOE_FAKE_GPU_BYTES=67108864 2 layer --transport mpi "${case[@]}" --tokens 64K
check "rows that do not fit the memory of a GPU are refused, with the figure" refused 'on GPU .* need .*are available there: lower --tokens'
gpu MOE_FAKE_CUDA_FAIL=cudaMalloc:3 2 layer --transport mpi "${case[@]}"
check "a GPU without memory is told of" not done_well and messages 1 and said '^moe-a2a'

if ! "$program" info | grep -q '^transports.* nccl'; then
    skip "built without NCCL" "NCCL on fakes"
    finish
    exit
fi

# ---- Every style and algorithm ----
for ranks in 2 3 4; do
    gpu "" $ranks layer --transport nccl "${case[@]}" --style all --algorithm all --check full --max-reps 1 --warmup 0
    check "every style and algorithm over NCCL, $ranks ranks: every element is right" sound
done
gpu "" 8 layer --transport nccl "${case[@]}" --tokens 6 --style all --algorithm native,birkhoff --ranks-per-node 2 --max-reps 1 --warmup 0
check "8 ranks on 4 nodes of two: every element is right" sound
hash_of() { records "$json" record=run -- routing.hash; records "$json" record=exchange phase=dispatch -- style matrix_hash | sort -u; }
gpu "" 4 layer --transport nccl "${case[@]}" --style exact,dedup
over_nccl=$(hash_of)
check "NCCL stands in the record, with its configuration" every_record "$json" record=run -- transport nccl \
    nccl_config.register nccl_config.graph nccl_config.share_gpu cuda :: \
    '$1 == "nccl" && $2 != "-" && $3 == "off" && $4 == "false" && $5 == "false" && $6 == "CUDA"'
run_ranks 4 layer "${short[@]}" --json "$json.host" "${case[@]}" --style exact,dedup; mv "$json.host" "$json"
check "the same rows as over MPI on host memory" same "$(hash_of)" "$over_nccl"
gpu "" 3 layer --transport nccl "${case[@]}" --dtype fp8 --style exact,slots,two-hop --ranks-per-node 1 --capacity-factor 1
check "FP8, drops" sound
gpu "" 3 layer --transport nccl "${case[@]}" --dtype fp32 --experts 5 --top-k 2 --hidden 77 --tokens 9
check "fp32, an odd width, P that does not divide E" sound
gpu "" 2 layer --transport nccl "${case[@]}" --tokens 0
check "0 tokens" done_well
gpu "" 4 layer --transport nccl "${case[@]}" --experts 2 --top-k 1 --skew hot:1,1
check "one hot expert, ranks without experts" sound
gpu "" 1 layer --transport nccl "${case[@]}" --style all --algorithm all --max-reps 1
check "one rank" sound
gpu "" 4 layer --transport nccl "${case[@]}" --ep 2
check "two groups of two" sound

# ---- Options of NCCL ----
gpu "" 3 layer --transport nccl "${case[@]}" --graph --style padded,exact,two-hop --ranks-per-node 1 --algorithm native,pairwise,bruck --max-reps 8
check "exchanges as CUDA graphs" sound and every_record "$json" record=run -- nccl_config.graph :: '$1 == "true"'
for how in window symmetric copy; do
    gpu "" 4 layer --transport nccl "${case[@]}" --style padded,exact --nccl-register $how
    check "--nccl-register $how" sound and every_record "$json" record=run -- nccl_config.register :: "\$1 == \"$how\""
done
check "the path that an exchange of equal blocks took is recorded" every_record "$json" record=exchange style=padded \
    phase=dispatch -- nccl_path :: '$1 == "kernels" || $1 == "copy-engines"'
gpu "" 2 layer --transport nccl "${case[@]}" --nccl-ctas 2,8 --nccl-channels-per-peer 2
check "CTAs and channels are recorded" sound and every_record "$json" record=run -- nccl_config.min_ctas \
    nccl_config.max_ctas nccl_config.channels_per_peer :: '$1 == 2 && $2 == 8 && $3 == 2'
gpu MOE_FAKE_GPUS=1 4 layer --transport nccl "${case[@]}" --share-gpu --style exact
check "ranks that share a GPU: marked as functional, in record and print" sound and printed 'SHARED' and \
    every_record "$json" record=run -- functional_only nccl_config.share_gpu :: '$1 == "true" && $2 == "true"'
gpu "" 2 alltoallv --transport nccl --sizes 1K:64K:8 --algorithm native,linear,best --link-bandwidth measure
sound_raw() { done_well && every_record "$json" record=exchange phase=alltoallv -- errors reps :: '$1 == 0 && $2 > 0'; }
check "a raw exchange" sound_raw
gpu "" 3 alltoallv --transport nccl --pattern "${case[@]}" --graph
check "a raw exchange of a pattern, as a graph" sound_raw

# ---- Iterations ----
narrow=(--model switch-base-8 --hidden 64 --tokens 32 --layers 4)
gpu "" 2 iteration --transport nccl "${narrow[@]}" --compute gemm --pass training --style exact,padded
check "an iteration with GEMMs of cuBLAS's in bf16" sound_iteration and printed '^compute +bf16 GEMMs'
gpu "" 2 iteration --transport nccl "${narrow[@]}" --compute gpu:h100 --overlap chunks:2
check "overlap in two lanes, with modelled compute" sound_iteration
gpu "" 4 iteration --transport nccl "${narrow[@]}" --compute gemm --overlap chunks:3 --style exact,two-hop --ranks-per-node 2 --algorithm native,pairwise
check "overlap with algorithms that cannot wait on a host" sound_iteration
gpu "" 4 iteration --transport nccl "${narrow[@]}" --compute none --dp 2
check "replicas sum gradients over NCCL" sound_iteration and every_record "$json" record=iteration -- time_ms.allreduce :: '$1 > 0'
gpu "" 2 iteration --transport mpi "${narrow[@]}" --compute gemm --overlap chunks:2 --style exact
check "MPI on GPU memory: an iteration with overlap" sound_iteration
parts_add_up() { every_record "$json" record=iteration -- time_ms.iteration time_ms.compute time_ms.metadata time_ms.permute \
    time_ms.dispatch time_ms.combine :: '(($2 + $3 + $4 + $5 + $6) / $1 - 1) ^ 2 <= 1e-6'; }
check "the parts are the whole by the host's clock" parts_add_up

# Up to its last item: the products of a whole iteration take minutes in plain loops.
four_items() {
    "$MPIRUN" "${mpi_flags[@]}" -np 2 env LD_LIBRARY_PATH="$fakes" "$program" suite quick --out "$work/suite" \
        --device cuda --transport nccl --max-seconds 60 >"$work/out" 2>"$work/err" </dev/null &
    local launcher=$! end=$((SECONDS + 100))
    until [ -f "$work/suite/04-styles.jsonl" ] || ! kill -0 $launcher 2>/dev/null || [ $SECONDS -ge $end ]; do sleep 0.1; done
    kill $launcher 2>/dev/null; wait $launcher; rc=$?
    echo "a suite over NCCL, ended after its fourth item" >"$work/command"
    record_count "$work/suite/01-pairs.jsonl" 2 record=pair && record_count "$work/suite/04-styles.jsonl" 1 record=run transport=nccl &&
        every_record "$work/suite/04-styles.jsonl" record=exchange -- errors :: '$1 == 0'
}
check "a suite over NCCL, each item with a communicator of its own" four_items

# ---- Faults: every rank ends, one message says who, where and in what ----
fault() { # "VARIABLES" RANKS OPTION...
    local variables=$1 ranks=$2; shift 2
    gpu "$variables" "$ranks" layer --transport nccl "${case[@]}" --timeout 4 --max-reps 2 --warmup 0 "$@"
}
ended_in_time() { ended_with 4 && messages 1 && { [ "$seconds" -lt 30 ] || { echo "after $seconds s"; return 1; }; }; }
none_left() {
    local own end=$((SECONDS + 10)); own=$(realpath "$program")
    while ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qF -- "-> $own"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
fault "MOE_FAKE_NCCL_FAULT=async MOE_FAKE_NCCL_RANK=1 MOE_FAKE_NCCL_AT=3" 3 --style exact --algorithm native,linear
check "an asynchronous error of one rank ends all with 4" ended_in_time and none_left
check "the message names rank, host, GPU and phase" said '^moe-a2a layer: rank 1 \(.*, GPU 1\): (metadata|dispatch|combine).*NCCL'
fault "MOE_FAKE_NCCL_FAULT=absent MOE_FAKE_NCCL_RANK=1 MOE_FAKE_NCCL_AT=3" 3 --style exact --algorithm native,linear
check "a rank that never arrives ends all with 4, soon after --timeout" ended_in_time and none_left
check "the message names rank, host, GPU and phase" said '^moe-a2a layer: rank [0-2] \(.*, GPU [0-2]\): no progress for 4 s during .*\((metadata|dispatch|combine)\)'
fault "MOE_FAKE_NCCL_FAULT=setup MOE_FAKE_NCCL_RANK=1" 3 --style exact
check "set-up that never completes ends all with 4" ended_in_time and none_left and said '^moe-a2a layer: rank [0-2] \(.*, GPU [0-2]\): .*set-up'
for ranks in 2 8; do
    fault "MOE_FAKE_NCCL_FAULT=corrupt MOE_FAKE_NCCL_RANK=1 MOE_FAKE_NCCL_BYTES=4096" $ranks --style exact --algorithm native
    check "$ranks ranks: one bit of one row that is another is found, and where" ended_with 1 and \
        said "wrong data: exact, native: rank 1: after dispatch: row [0-9]+, token [0-9]+, column [0-9]+: expected" and \
        every_record "$json" record=exchange -- errors :: '$1 > 0'
done
measured_before() { # `linear` fails in its second exchange of rows, after `native` has been measured
    fault "MOE_FAKE_NCCL_FAULT=async MOE_FAKE_NCCL_RANK=0 MOE_FAKE_NCCL_AT=$1" 2 --style exact --algorithm native,linear --max-reps 1
    ended_in_time && [ "$(records "$json" record=exchange algorithm=native -- phase | wc -l)" = 6 ] &&
        [ "$(records "$json" record=exchange algorithm=linear -- phase | wc -l)" = 0 ]
}
keeps_what_was_measured() { # the number of an exchange in `linear` is not known here: try
    local at
    for at in 8 9 10 11 12 13 14; do measured_before $at && return 0; done
    return 1
}
check "what was measured before a fault is kept" keeps_what_was_measured
finish
