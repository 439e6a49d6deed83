/* Every option of every driver: one row each. */
#include "options.h"

#define STYLES_HELP                                                                                \
    "Dispatch styles, a list: padded, padded-max, exact, exact-per-expert, allgather, dedup, "     \
    "two-hop, slots, hier"

static const option_row_t rows[OPTIONS] = {
    {OPT_MODEL, "model", "NAME", GROUP_MODEL, NULL,
     "A preset's shape (see `moe-a2a models`); default: the shape of mixtral-8x7b, changed by the "
     "options below"},
    {OPT_HIDDEN, "hidden", "N", GROUP_MODEL, NULL, "Width of a token, in elements"},
    {OPT_EXPERT_FFN, "expert-ffn", "N", GROUP_MODEL, NULL, "Inner width of an expert"},
    {OPT_EXPERTS, "experts", "N", GROUP_MODEL, NULL, "Routed experts of a MoE layer"},
    {OPT_TOP_K, "top-k", "N", GROUP_MODEL, NULL, "Experts that a token chooses"},
    {OPT_N_GROUP, "n-group", "N", GROUP_MODEL, NULL,
     "Groups of consecutive experts, for the gates group-limited and sigmoid; 0: none"},
    {OPT_TOPK_GROUP, "topk-group", "N", GROUP_MODEL, NULL, "Of these, how many a token may use"},
    {OPT_LAYERS, "layers", "N", GROUP_MODEL, NULL, "Layers of the model, dense ones included"},
    {OPT_FIRST_DENSE, "first-dense", "N", GROUP_MODEL, NULL,
     "So many layers at the start are dense"},
    {OPT_MOE_EVERY, "moe-every", "N", GROUP_MODEL, NULL, "After them every N-th layer is MoE"},
    {OPT_TOKENS, "tokens", "N", GROUP_MODEL, "1024", "Tokens of each rank; 0 is allowed"},
    {OPT_SEQ_LEN, "seq-len", "N", GROUP_MODEL | GROUP_LIST, NULL,
     "Sequence length, for attention; default: tokens"},
    {OPT_DTYPE, "dtype", "TYPE", GROUP_MODEL, "bf16", "Of dispatch: bf16, fp16, fp32, fp8"},
    {OPT_COMBINE_DTYPE, "combine-dtype", "TYPE", GROUP_MODEL, NULL,
     "Of combine; default: as dispatch, bf16 with fp8"},
    {OPT_CAPACITY_FACTOR, "capacity-factor", "X", GROUP_MODEL, NULL,
     "Slots of an expert = max(ceil(tokens/experts * top-k * X), min-capacity); 0: nothing is "
     "dropped; default: the preset's"},
    {OPT_MIN_CAPACITY, "min-capacity", "N", GROUP_MODEL, "4", "Fewest slots of an expert"},
    {OPT_DROP, "drop", "HOW", GROUP_MODEL, "position",
     "Who goes over capacity: position (the last to come), probability (the lightest), random"},
    {OPT_GATE, "gate", "NAME", GROUP_ROUTING, NULL,
     "softmax, switch, gshard, noisy, group-limited (needs n-group), sigmoid, expert-choice, hash, "
     "sinkhorn (docs/routing.md); default: the preset's, within its groups, else softmax"},
    {OPT_SKEW, "skew", "SPEC", GROUP_ROUTING, "uniform",
     "Popularity of experts: balanced, uniform, zipf:S, hot:N,SHARE, lognormal:SIGMA, "
     "dirichlet:ALPHA, counts:FILE; or the very choices of trace:FILE (see docs/formats.md)"},
    {OPT_WORKLOAD, "workload", "NAME", GROUP_ROUTING, NULL,
     "In place of --skew: loads by rank and step, tokens by rank and step. A file, or the name of "
     "one "
     "that comes with the program (`moe-a2a pattern --list`, docs/workloads.md)"},
    {OPT_PLACEMENT, "placement", "HOW", GROUP_ROUTING, "block",
     "Experts on ranks: block, round-robin, a file of one rank per expert, or eplb[:REDUNDANT]: "
     "replicas of the heaviest, packed evenly (default: one redundant expert a rank)"},
    {OPT_SEED, "seed", "N", GROUP_ROUTING, "1", "Same seed, same routing, on any number of ranks"},
    {OPT_STEPS, "steps", "N", GROUP_STEPS, NULL,
     "Steps of training or serving, one after another, each with its own routing and results; "
     "default: the first alone"},
    {OPT_RANKS, "ranks", "N", GROUP_LAYOUT, NULL,
     "Ranks where MPI does not tell: for pattern and --transport loopback (default 8)"},
    {OPT_EP, "ep", "N", GROUP_LAYOUT, NULL,
     "Ranks of an expert-parallel group; default: ranks / dp"},
    {OPT_DP, "dp", "N", GROUP_LAYOUT, NULL,
     "Replicas of the group; default: ranks / ep. More than 1 adds the gradient all-reduce to "
     "training"},
    {OPT_RANKS_PER_NODE, "ranks-per-node", "N", GROUP_LAYOUT, NULL,
     "Decides which traffic stays in a node; default: what MPI finds, 8 where there is no MPI"},
    {OPT_STYLE, "style", "LIST", GROUP_STYLE, NULL,
     STYLES_HELP ", or all; default: the first three, for iteration exact"},
    {OPT_TRANSPORT, "transport", "NAME", GROUP_EXCHANGE, "mpi",
     "mpi, nccl (with --device cuda), or loopback (threads of one process, without MPI: for tests "
     "of "
     "everything else)"},
    {OPT_DEVICE, "device", "NAME", GROUP_EXCHANGE, "host",
     "Where rows lie: host, or cuda: memory of GPUs, one a rank"},
    {OPT_ALGORITHM, "algorithm", "LIST", GROUP_EXCHANGE | GROUP_PREDICT, "native",
     "How an exchange is made of messages, a list: native (the library's own), linear, pairwise, "
     "bruck, hierarchical, birkhoff, best; or all"},
    {OPT_SIZES, "sizes", "MIN:MAX:STEP", GROUP_RAW, NULL,
     "Every pair of ranks exchanges so many bytes, in turn: times STEP (2), or plus it (+64K); or "
     "one size; default: 1K:4M:2"},
    {OPT_MATRIX, "matrix", "FILE", GROUP_RAW, NULL,
     "Bytes from rank to rank, row = source: as nccl-tests' alltoallv, UCC's perftest (.ptini) or "
     "CSV has them (see "
     "docs/formats.md)"},
    {OPT_MATRIX_BYTES, "matrix-bytes", "N", GROUP_RAW | GROUP_PATTERN, NULL,
     "Bytes that 1 stands for in a CSV matrix of fractions"},
    {OPT_PATTERN, "pattern", NULL, GROUP_RAW, NULL,
     "What the dispatch of one MoE layer sends in style exact: the options of model and routing"},
    {OPT_LINK_BANDWIDTH, "link-bandwidth", "RATE", GROUP_RAW, NULL,
     "Of a rank's port in one direction (25GB/s, 200mbit), or measure: gives bound and "
     "efficiency"},
    {OPT_ALTERNATE, "alternate", NULL, GROUP_RAW, NULL,
     "Run all algorithms in turn within each repetition, and print how many times as fast as the "
     "first "
     "each is, with its interval; not with --sizes"},
    {OPT_PAIR_BYTES, "pair-bytes", "N", GROUP_RAW, "1M",
     "Of a message of --per-pair, an even number up to 1G"},
    {OPT_COMPUTE, "compute", "ENGINE", GROUP_COMPUTE | GROUP_PREDICT, "gemm",
     "none, gemm, model:FLOPS,EFFICIENCY, gpu:NAME (a100, h100, h200, h800, b200)"},
    {OPT_THREADS, "threads", "N", GROUP_COMPUTE, "0",
     "BLAS threads of a rank; 0: cores of the host shared among its ranks"},
    {OPT_PASS, "pass", "WHICH", GROUP_COMPUTE | GROUP_PREDICT, "training",
     "forward (two exchanges a MoE layer) or training (four)"},
    {OPT_MEASURE_LAYERS, "measure-layers", "N", GROUP_COMPUTE | GROUP_PREDICT, "2",
     "MoE layers really run, each with its own routing; the rest is extrapolated and marked so; 0: "
     "all"},
    {OPT_OVERLAP, "overlap", "HOW", GROUP_COMPUTE | GROUP_PREDICT, "none",
     "none, or chunks:N: a layer's tokens in N chunks, the exchange of one under way while experts "
     "work on another"},
    {OPT_SHARE_GPU, "share-gpu", NULL, GROUP_GPU, NULL,
     "More ranks than GPUs: they share them, and NCCL goes over sockets. Shows that it works, not "
     "how "
     "fast"},
    {OPT_GRAPH, "graph", NULL, GROUP_GPU, NULL,
     "Replay each exchange as a CUDA graph (with --transport nccl)"},
    {OPT_NCCL_REGISTER, "nccl-register", "HOW", GROUP_GPU, "off",
     "Make buffers known to NCCL: off, window, symmetric, copy (symmetric, and copy engines "
     "instead of "
     "kernels where NCCL can)"},
    {OPT_NCCL_CTAS, "nccl-ctas", "MIN,MAX", GROUP_GPU, NULL,
     "Thread blocks that a NCCL kernel may use; default: NCCL's choice"},
    {OPT_NCCL_CHANNELS, "nccl-channels-per-peer", "N", GROUP_GPU, NULL,
     "Channels of NCCL to each peer over the network; default: NCCL's choice"},
    {OPT_IMPORT, "import", "FORMAT FILE", GROUP_PATTERN, NULL,
     "Describe a file instead: auto, moe, megatron, vllm, vllm-load, sglang, trtllm, eplb, "
     "counts-csv; a matrix: "
     "nccl-tests, ucc, csv, csv-fractions; with --export convert it"},
    {OPT_EXPORT, "export", "FORMAT FILE", GROUP_PATTERN, NULL,
     "Write what was routed: moe (all choices), or bytes from rank to rank of the first MoE layer "
     "in style exact (or "
     "the one --style): nccl-tests, ucc, csv, csv-fractions"},
    {OPT_WARMUP, "warmup", "N", GROUP_MEASURE, "5", "Repetitions before those that count"},
    {OPT_MIN_REPS, "min-reps", "N", GROUP_MEASURE, "30", "Fewest repetitions that count"},
    {OPT_MAX_REPS, "max-reps", "N", GROUP_MEASURE, "1000", "Most of them"},
    {OPT_MAX_SECONDS, "max-seconds", "S", GROUP_MEASURE, "10",
     "Longest time of a measured row; ends it as not converged"},
    {OPT_TIMEOUT, "timeout", "S", GROUP_MEASURE, "300",
     "A hang of so long ends the run with status 4"},
    {OPT_CI, "ci", "PERCENT", GROUP_MEASURE, "2.5",
     "Converged when half the 95 % interval is at most so much of the median"},
    {OPT_SYNC, "sync", "HOW", GROUP_MEASURE, "barrier",
     "Common start of a repetition: barrier, or round-time (by a common clock); or none "
     "(alltoallv): ranks run free, and the wait for late ones is in the time"},
    {OPT_CHECK, "check", "HOW", GROUP_MEASURE, "full",
     "full (every byte), sample (every 16th row), off; never inside the timed loop"},
    {OPT_LAUNCH, "launch", "N", GROUP_MEASURE, NULL,
     "Number of this launch of several, for the record: tools/launches gives it"},
    {OPT_JSON, "json", "FILE", GROUP_OUTPUT | GROUP_LIST, NULL,
     "Append records as JSON Lines; - is stdout"},
    {OPT_CSV, "csv", "FILE", GROUP_OUTPUT, NULL, "Append records as CSV; - is stdout"},
    {OPT_RAW, "raw", NULL, GROUP_SAMPLES, NULL, "Record every repetition, warm-up too"},
    {OPT_PER_RANK, "per-rank", NULL, GROUP_SAMPLES, NULL, "Record and print each rank"},
    {OPT_PER_PAIR, "per-pair", NULL, GROUP_PAIRS, NULL,
     "Record the bytes from rank to rank (--raw does too). alltoallv: measure every pair of ranks "
     "by "
     "itself, and name who is slow; alone, or behind the exchanges of --sizes, --matrix or "
     "--pattern"},
    {OPT_QUIET, "quiet", NULL, GROUP_OUTPUT | GROUP_LIST | GROUP_SUITE | GROUP_REPRODUCE, NULL,
     "No table"},
    {OPT_MARKDOWN, "markdown", "FILE", GROUP_MARKDOWN, NULL,
     "Write the tables as Markdown, anew; - is stdout"},
    {OPT_JUNIT, "junit", "FILE", GROUP_RULES, NULL,
     "Write the verdicts as JUnit XML, anew; - is stdout"},
    {OPT_RULES, "rules", "RULES", GROUP_RULES | GROUP_SUITE, NULL,
     "A file of rules, or the name of one that comes with the program (see docs/verdicts.md)"},
    {OPT_BASELINE, "baseline", "FILE", GROUP_RULES | GROUP_SUITE, NULL,
     "Results of a healthy run, for rules that say `baseline`"},
    {OPT_MAKE_BASELINE, "make-baseline", NULL, GROUP_RULES, NULL,
     "Write rules that RESULTS would pass, instead of judging them"},
    {OPT_MARGIN, "margin", "PERCENT", GROUP_RULES, "5%",
     "With --make-baseline: how much worse a run may be"},
    {OPT_OUTPUT, "output", "FILE", GROUP_FILE, NULL,
     "Where to, anew; - is stdout. Of accept --make-baseline and predict --fit (default: stdout), "
     "and of "
     "report (default: report.html)"},
    {OPT_OUT, "out", "DIR", GROUP_SUITE, NULL,
     "Folder for results, verdict and report; what is there already is not run again"},
    {OPT_MACHINE, "machine", "MACHINE", GROUP_PREDICT, NULL,
     "A description of a machine: a file, or the name of one that comes with the program (see "
     "docs/predict.md)"},
    {OPT_SWEEP, "sweep", "NAME=VALUES", GROUP_PREDICT, NULL,
     "Predict for each value of an option: a list (skew=zipf:0,zipf:1), or MIN:MAX:STEP, times "
     "STEP "
     "(ranks=8:4096:2) or plus it (capacity-factor=1:2:+0.25)"},
    {OPT_SAMPLE_TOKENS, "sample-tokens", "N", GROUP_PREDICT, "128K",
     "Of so many tokens a layer at most choices are really made, of whole ranks; loads of all "
     "ranks "
     "are expected from them"},
    {OPT_FIT, "fit", "RESULTS", GROUP_PREDICT, NULL,
     "Fit latency, overhead and bandwidth of the machine to measured exchanges, and write its "
     "description"},
    {OPT_PLATFORM, "platform", "FILE", GROUP_PREDICT, NULL,
     "Write the machine with its ranks as a platform of SimGrid (see docs/simulation.md), and "
     "predict "
     "nothing; - is stdout"},
    {OPT_SIMULATED, "simulated", "FILE", GROUP_REPRODUCE, NULL,
     "What tools/sim-reproduce has simulated, beside what is predicted"},
    {OPT_LIST, "list", NULL, GROUP_REPRODUCE | GROUP_LISTING, NULL,
     "Name what comes with the program: workloads (pattern), published figures (reproduce)"},
    {OPT_NAMES, "names", NULL, GROUP_LISTING, NULL, "With --list: their names only, one a line"},
};

const option_row_t *option_row(option_t id)
{
    return &rows[id];
}
