# Files that the fuzzing of each target begins with. Sourced by bash at the root of the project.
# found/TARGET/ holds inputs that once broke a reader: they stay, as regression tests.

seeds() { # TARGET: paths, one a line
    case $1 in
    trace) ls patterns/samples/*.npy patterns/samples/*.gz patterns/samples/*.json* patterns/samples/*s.csv patterns/samples/*.moe ;;
    moe) ls patterns/samples/*.moe ;;
    megatron) ls patterns/samples/megatron.jsonl ;;
    vllm | vllm-load) ls patterns/samples/vllm*.npy ;;
    sglang) ls patterns/samples/sglang*.json ;;
    trtllm) ls patterns/samples/trtllm*.json ;;
    eplb) ls patterns/samples/eplb*.json ;;
    counts-csv) ls patterns/samples/selections.csv patterns/samples/counts.csv ;;
    matrix) ls patterns/samples/matrix* ;;
    nccl-tests) ls patterns/samples/matrix-nccl-tests.txt ;;
    ucc) ls patterns/samples/matrix-ucc.ptini ;;
    csv) ls patterns/samples/matrix*.csv ;;
    machine) ls patterns/machines/*.json ;;
    workload) ls patterns/workloads/*.json ;;
    rules) ls patterns/acceptance/*.json ;;
    esac
    ls tests/fuzz/seeds/"$1"/* tests/fuzz/found/"$1"/* 2>/dev/null
}
