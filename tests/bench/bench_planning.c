/* Time and memory of planning, from routing to the sender's plan, for one rank of 1,024: 4,096 tokens,
 * 8 of 256 experts, zipf:1.0. Ends with 1 where a median, or the memory of the process, passes
 * its limit. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "moe/measure.h"
#include "moe/system.h"
#include "moe/traffic.h"

#define RANKS   1024
#define TOKENS  4096
#define EXPERTS 256
#define TOP_K   8
#define REPS    21

#define LIMIT_SECONDS 0.050
#define LIMIT_MB      50.0

typedef struct world {
    moe_router_t *router;
    moe_placement_t placement;
    moe_workload_t workload;
    size_t tokens[RANKS];
    uint64_t first_token[RANKS];
} world_t;

typedef struct variant {
    const char *label, *style;
    double capacity_factor;
} variant_t;

/* One of each part, in seconds. */
enum { PART_BATCH, PART_PLAN, PART_BOTH, PARTS };

static moe_status_t create_world(world_t *w, moe_error_t *error)
{
    moe_routing_spec_t spec = {.experts = EXPERTS, .top_k = TOP_K, .seed = 1};
    for (size_t r = 0; r < RANKS; r++) {
        w->tokens[r] = TOKENS;
        w->first_token[r] = (uint64_t)r * TOKENS;
    }
    moe_status_t status = moe_gate_find("softmax", &spec.gate, error);
    if (status == MOE_OK) {
        status = moe_skew_parse("skew", "zipf:1.0", &spec.skew, error);
    }
    if (status == MOE_OK) {
        status = moe_placement_create("block", EXPERTS, RANKS, &w->placement, error);
    }
    if (status == MOE_OK) {
        status = moe_router_create(&spec, 0, &w->router, error);
    }
    w->workload = (moe_workload_t){.router = w->router,
                                   .placement = &w->placement,
                                   .tokens = w->tokens,
                                   .first_token = w->first_token};
    return status;
}

static moe_status_t plan_once(const world_t *w, const variant_t *variant, size_t rank,
                              double seconds[PARTS], size_t *rows, moe_error_t *error)
{
    const moe_style_ops_t *style;
    moe_batch_t *batch;
    moe_plan_t plan;
    moe_sizes_t sizes;
    moe_status_t status = moe_style_find(variant->style, &style, error);
    if (status != MOE_OK) {
        return status;
    }
    const double start = moe_now();
    status = moe_batch_create(&w->workload, rank, &batch, error);
    if (status != MOE_OK) {
        return status;
    }
    const double routed = moe_now();
    moe_sizes_of(&w->workload, 0, &sizes);
    status = moe_plan_send(style, &sizes, batch, rank, &plan, error);
    const double planned = moe_now();
    if (status == MOE_OK) {
        *rows = plan.hop.send_first[plan.hop.peers];
        moe_plan_destroy(&plan);
    }
    moe_batch_destroy(batch);
    seconds[PART_BATCH] = routed - start;
    seconds[PART_PLAN] = planned - routed;
    seconds[PART_BOTH] = planned - start;
    return status;
}

/* Of the whole process, so far. */
static double peak_megabytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024 / 1e6;
}

static moe_status_t measure(world_t *w, const variant_t *variant, bool *within, moe_error_t *error)
{
    double sample[PARTS][REPS];
    double median[PARTS], worst = 0;
    size_t rows = 0;
    w->workload.capacity = (moe_capacity_spec_t){.factor = variant->capacity_factor, .min = 4};
    for (size_t r = 0; r < REPS; r++) {
        double seconds[PARTS];
        const moe_status_t status =
            plan_once(w, variant, r * (RANKS / REPS), seconds, &rows, error);
        if (status != MOE_OK) {
            return status;
        }
        for (size_t p = 0; p < PARTS; p++) {
            sample[p][r] = seconds[p];
        }
    }
    for (size_t p = 0; p < PARTS; p++) {
        moe_summary_t summary;
        const moe_status_t status = moe_summarise(sample[p], REPS, &summary, error);
        if (status != MOE_OK) {
            return status;
        }
        median[p] = summary.median;
        worst = summary.max; /* of both: mostly the first, which touches fresh memory */
    }
    const double megabytes = peak_megabytes();
    printf("%-24s %9zu %9.2f %9.2f %9.2f %9.2f %9.1f\n", variant->label, rows,
           median[PART_BATCH] * 1e3, median[PART_PLAN] * 1e3, median[PART_BOTH] * 1e3, worst * 1e3,
           megabytes);
    *within = *within && median[PART_BOTH] < LIMIT_SECONDS && megabytes < LIMIT_MB;
    return MOE_OK;
}

int main(void)
{
    /* By memory, ascending: the peak of a process does not fall. */
    static const variant_t variants[] = {{"exact", "exact", 0},
                                         {"padded, capacity 1.25", "padded", 1.25},
                                         {"padded, nothing dropped", "padded", 0}};
    world_t world = {0};
    moe_error_t error = {0};
    bool within = true;
    moe_status_t status = create_world(&world, &error);
    printf("planning for one rank of %d: %d tokens, %d of %d experts; limits %.0f ms, %.0f MB\n",
           RANKS, TOKENS, TOP_K, EXPERTS, LIMIT_SECONDS * 1e3, LIMIT_MB);
    printf("%-24s %9s %9s %9s %9s %9s %9s\n", "style", "rows", "batch ms", "plan ms", "both ms",
           "worst ms", "peak MB");
    for (size_t v = 0; status == MOE_OK && v < sizeof variants / sizeof variants[0]; v++) {
        status = measure(&world, &variants[v], &within, &error);
    }
    if (status != MOE_OK) {
        fprintf(stderr, "bench_planning: %s\n", error.text);
    }
    moe_placement_destroy(&world.placement);
    moe_router_destroy(world.router);
    return status != MOE_OK ? (int)status : within ? 0 : 1;
}
