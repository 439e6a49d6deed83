#!/bin/bash
# The program on simulated networks: the same figures twice, checked, marked in every record; what cannot be is refused.
. tests/environment.sh
. tests/common/tap.sh

if ! command -v smpirun >/dev/null || [ ! -f "$BUILD/sim/moe-a2a" ]; then
    skip "no SimGrid, or \`make sim\` was not run" "the program runs on simulated networks"
    finish
    exit
fi
build_json_query || exit 1
json=$work/sim.jsonl
simulate() { keep_run tools/sim "$@"; }
refuse() { # STATEMENT EXPRESSION ARGUMENTS...: by tools/sim itself
    local statement=$1 expression=$2; shift 2
    simulate "$@"; check "$statement" ended_with 2 and test "$(wc -l <"$work/err")" = 1 and said "^tools/sim: .*$expression"
}
small=(layer --model deepseek-v3 --hidden 64 --tokens 2)
figures() { grep -v '"record":"run"' "$1"; } # the run has the time of day

simulate --platform fat-tree-64 --ranks 16 -- "${small[@]}" --style exact,hier --algorithm native,hierarchical --json "$json" --check full
check "16 ranks on two hosts are simulated, and every byte is right" done_well \
    and every_record "$json" record=exchange -- errors :: '$1 == 0' \
    and printed 'SIMULATED, nothing was measured: on fat-tree-64'
check "every record says that it is simulated, and its run on what" every_record "$json" -- simulated :: '$1 == "true"' \
    and every_record "$json" record=run -- platform simgrid nodes ranks :: '$1 == "fat-tree-64" && $2 ~ /^3/ && $3 == 2 && $4 == 16'
mv "$json" "$work/first.jsonl"
simulate --platform fat-tree-64 --ranks 16 -- "${small[@]}" --style exact,hier --algorithm native,hierarchical --json "$json" --check full
check "a second run has the same figures" cmp <(figures "$work/first.jsonl") <(figures "$json")
keep_run "$program" compare "$json" "$work/first.jsonl"
check "compare takes them, and says that they are no measurement" done_well and printed 'NOT MEASURED: of 1 runs 0 predicted, 1 simulated'

rm -f "$json"
simulate --platform torus-64 --ranks 8 --ranks-per-host 4 -- iteration --model mixtral-8x7b --hidden 64 --tokens 2 --measure-layers 1 \
    --compute model:1e9,1 --json "$json"
check "modelled compute passes in simulated time" done_well and every_record "$json" record=iteration -- time_ms.compute :: '$1 > 0'

rm -f "$json"
simulate --platform cluster-64 --ranks 9 -- "${small[@]}" --sync round-time --min-reps 3 --max-reps 3 --json "$json"
check "a common clock works in simulated time" done_well and every_record "$json" record=exchange -- errors :: '$1 == 0'

# ---- Machines as platforms ----
rm -f "$json"
simulate --machine h800-ib --ranks 20 -- "${small[@]}" --workload production --algorithm native,hierarchical --style exact --check full \
    --json "$json"
check "a machine is a platform: its nodes, and every byte right; workloads go by name" done_well \
    and every_record "$json" record=run -- nodes ranks layout.ranks_per_node platform :: '$1 == 3 && $2 == 20 && $3 == 8 && $4 == "h800-ib"' \
    and every_record "$json" record=exchange -- errors :: '$1 == 0'
cat >"$work/wire.json" <<'END'
{"schema": 1, "name": "wire & <quotes>", "ranks_per_node": 1, "memory_GBps": 1000, "compute": {"bf16_TFLOPs": 1, "efficiency": 1},
 "tiers": [{"name": "wire", "latency_us": 3000, "overhead_us": 2000, "bandwidth_GBps": 0.1}]}
END
rm -f "$json"
simulate --machine "$work/wire.json" --ranks 2 -- alltoallv --sizes 100000 --algorithm pairwise --json "$json"
# As the cost model: 3 ms, 2 ms, and 100,000 bytes at 100 a microsecond, both ways at once; SMPI sends 16 bytes more
check "a message takes latency, overhead and bytes" done_well and every_record "$json" record=exchange -- median_us :: '$1 >= 6000 && $1 < 6000.5'
sed 's/"ranks_per_node": 1/"ranks_per_node": 2/; s/[23]000,/0,/g; s/0.1}/0.001, "ranks_per_port": 2}/' "$work/wire.json" >"$work/shared.json"
rm -f "$json"
simulate --machine "$work/shared.json" --ranks 4 -- alltoallv --sizes 100000 --algorithm linear --json "$json"
# Each port carries what two ranks send to two others; what goes between its own ranks crosses it, too
check "ranks that share a port share its rate" done_well and every_record "$json" record=exchange -- median_us :: '$1 >= 600000 && $1 < 602000'
refuse_machine() { simulate "$@"; check "$statement" ended_with 2 and said "$expression"; }
statement="a machine that is none" expression='--machine: no file .*h80-ib.*nearest: h800-ib' refuse_machine --machine h80-ib --ranks 2 -- "${small[@]}"
refuse "a machine and a platform" 'one of the two' --machine h800-ib --platform torus-64 --ranks 2 -- "${small[@]}"
refuse "a name with blanks" 'without blanks' --machine 'a b.json' --ranks 2 -- "${small[@]}"
refuse "no name" 'needs a value' --machine= --ranks 2 -- "${small[@]}"
refuse "a command that is not simulated" 'help: not simulated' --machine h800-ib --ranks 2 -- help
refuse "its help" 'ask the program itself' --machine h800-ib --ranks 2 -- layer --help
rm -f "$json"
simulate --machine gb200-nvl72 --ranks 72 -- layer --experts 72 --top-k 2 --hidden 64 --tokens 1 --style exact --json "$json"
check "any number of ranks will do, and the record says what was set for it" done_well \
    and every_record "$json" record=run -- nodes simgrid_settings :: '$1 == 1 && $2 == "smpi/alltoallv:ring"'
refuse "ranks of a host on a machine" 'ports of its own' --machine h800-ib --ranks-per-host 2 --ranks 2 -- "${small[@]}"

# ---- Levels beside each other ----
rm -f "$json"
simulate --machine "$work/wire.json" --ranks 4 -- layer --experts 4 --top-k 1 --hidden 64 --tokens 8 --json "$json"
keep_run tools/levels "$json" --machine "$work/wire.json"
check "simulated results are predicted alone, and not called measured" done_well and printed 'SIMULATED ms' and not printed '^simulated:'
sed -i 's/,"simulated":true//' "$json" # as if they were measured: then the simulation must meet them
keep_run tools/levels "$json" --machine "$work/wire.json" --out "$work/levels"
check "predicted and simulated stand beside what was recorded, of the same routing" done_well and printed '^simulated: 0.0 % off at the median' \
    and printed '^predicted: [0-9]' and test "$(wc -l <"$work/levels.md")" = $((2 + $(grep -cE '"phase":"(dispatch|combine)"' "$json")))
for line in '{"record":"run"}' '{"record":"run","command":5}' '[]' '{"record":"run","command":["a","layer",3],"routing":{}}'; do
    echo "$line" >"$work/bad.jsonl"
    keep_run tools/levels "$work/bad.jsonl" --machine h800-ib
    check "$line is no result" ended_with 2 and said '^tools/levels: .*no re' and test "$(wc -l <"$work/err")" = 1
done
keep_run tools/levels results/eight-ranks/layer.jsonl --machine "$work/wire.json" --out /nonexistent/x
check "a folder that is not there is refused at once" ended_with 2 and said 'its folder is not there'
keep_run tools/levels results/eight-ranks/layer.jsonl --machine h800-ib
check "results of ranks that were really started are taken" done_well and printed '^predicted: '
cp "$json" "$work/other.jsonl"; sed -i 's/"hash":"[0-9a-f]*"/"hash":"0123456789abcdef"/' "$work/other.jsonl"
keep_run tools/levels "$work/other.jsonl" --machine "$work/wire.json"
check "another routing is refused" ended_with 2 and said 'its routing is [0-9a-f]+, that of the results 0123456789abcdef'
keep_run tools/sim-reproduce luffy-table1 --out "$work/again"
check "published exchanges are simulated" done_well and printed 'a2a_ms .*%.*%' and test "$(wc -l <"$work/again.jsonl")" = 9
keep_run tools/sim-reproduce no-such-table
check "entries that are not there are refused" ended_with 2 and said 'no-such-table: no measured entry'

# ---- Where it goes wrong ----
# shellcheck disable=SC2016
keep_run bash -c 'ulimit -v 3000000; exec tools/sim "$@"' - --platform fat-tree-64 --ranks 64 -- layer --tokens 64 --style hier \
    --algorithm native --check full
check "ranks without memory end together, with one message" ended_with 2 and test "$(grep -c '^moe-a2a' "$work/err")" = 1 and said 'memory'
mkdir -p "$work/waiting/sim"
cat >"$work/waiting/wait.c" <<'END'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int c, char **v)
{
    int rank;
    MPI_Init(&c, &v);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        fputc('.', fopen(getenv("MOE_SIM_ENDED"), "a")); /* as a rank that is through */
    else
        MPI_Recv(v, 0, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return 0;
}
END
smpicc -o "$work/waiting/sim/moe-a2a" "$work/waiting/wait.c" >/dev/null 2>&1
BUILD=$work/waiting simulate --platform torus-64 --ranks 2 -- layer
check "a run in which one rank waits for ever ends with 4" ended_with 4 and said 'ranks wait for something that never comes'
refuse "too few hosts" 'fat-tree-64 has 8 hosts, for 64 ranks' --platform fat-tree-64 --ranks 65 -- "${small[@]}"
refuse "no such platform" 'neither a file nor one of .*torus-64' --platform nowhere --ranks 2 -- "${small[@]}"
echo '<platform><zone' >"$work/bad.xml"
refuse "a broken platform" 'not a platform of SimGrid' --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
echo '<platform version="4.1"/>' >"$work/bad.xml"
refuse "a platform without hosts" 'no <host>' --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
sed 's/FAT_TREE/KNOT/' patterns/platforms/fat-tree-64.xml >"$work/bad.xml"
simulate --platform "$work/bad.xml" --ranks 2 -- "${small[@]}"
check "a platform that SimGrid refuses" ended_with 2 and said 'SimGrid refuses'
refuse "no ranks" '--ranks is missing' --platform torus-64 -- "${small[@]}"
refuse "0 ranks" 'from 1 to' --platform torus-64 --ranks 0 -- "${small[@]}"
refuse "arguments with blanks" 'blanks' --platform torus-64 --ranks 2 -- "${small[@]}" --json "a b"
refuse "a check without contents" 'leave --check out' --platform torus-64 --ranks 2 --fold -- "${small[@]}" --check full
simulate --platform torus-64 --ranks 2 -- iteration --model mixtral-8x7b --compute gemm
check "real compute is refused by one rank, with the remedy" ended_with 2 and said 'real compute takes no time.*give --compute gpu:NAME'
simulate --platform torus-64 --ranks 4 -- layer --style nonsense
check "bad options are refused once" ended_with 2 and test "$(grep -c nonsense "$work/err")" = 1
finish
