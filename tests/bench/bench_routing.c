/* Speed of routing on one core: the race of the softmax gate beside computing all E perturbed
 * scores of a token and sorting them. Alternating; medians of processor time, which a busy
 * machine spoils less than time on the clock. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "moe/measure.h"
#include "moe/routing.h"

#define TOKENS      4096
#define REPETITIONS 11

typedef struct score {
    double value;
    int32_t expert;
} score_t;

static int descending(const void *a, const void *b)
{
    const score_t *x = a, *y = b;
    return (x->value < y->value) - (x->value > y->value);
}

/* ln p_e + Gumbel_e of one token. */
static void compute_scores(const moe_router_t *router, const double *log_popularity, uint64_t token,
                           score_t *scores)
{
    const moe_routing_spec_t *spec = moe_router_spec(router);
    uint32_t words[4];
    for (size_t e = 0; e < spec->experts; e++) {
        if (e % 4 == 0)
            moe_random(spec->seed, MOE_FOR_LOGITS, moe_router_layer(router), 0, token,
                       (uint32_t)(e / 4), words);
        const double uniform = (words[e % 4] + 0.5) * 0x1p-32;
        scores[e] = (score_t){log_popularity[e] - log(-log(uniform)), (int32_t)e};
    }
}

static void sort_all(score_t *scores, size_t experts, size_t top_k)
{
    (void)top_k;
    qsort(scores, experts, sizeof scores[0], descending);
}

/* Keeps the best K in order at the front, by insertion. */
static void select_best(score_t *scores, size_t experts, size_t top_k)
{
    for (size_t e = 0; e < experts; e++) {
        if (e >= top_k && scores[e].value <= scores[top_k - 1].value)
            continue;
        const score_t new = scores[e];
        size_t at = e < top_k ? e : top_k - 1;
        for (; at > 0 && scores[at - 1].value < new.value; at--)
            scores[at] = scores[at - 1];
        scores[at] = new;
    }
}

static void weigh(const score_t *scores, size_t top_k, int32_t *expert, float *weight)
{
    double total = 0;
    for (size_t k = 0; k < top_k; k++)
        total += exp(scores[k].value - scores[0].value);
    for (size_t k = 0; k < top_k; k++) {
        expert[k] = scores[k].expert;
        weight[k] = (float)(exp(scores[k].value - scores[0].value) / total);
    }
}

typedef void (*order_fn)(score_t *scores, size_t experts, size_t top_k);

typedef struct bench {
    moe_router_t *router;
    moe_table_t table;
    double *log_popularity;
    score_t *scores;
    uint64_t next_token;
} bench_t;

static double seconds_used(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

static double time_race(bench_t *b)
{
    const double start = seconds_used();
    (void)moe_router_route(b->router, 0, b->next_token, &b->table, NULL);
    return seconds_used() - start;
}

static double time_scores(bench_t *b, order_fn order)
{
    const moe_routing_spec_t *spec = moe_router_spec(b->router);
    const size_t top_k = spec->top_k;
    const double start = seconds_used();
    for (size_t t = 0; t < TOKENS; t++) {
        compute_scores(b->router, b->log_popularity, b->next_token + t, b->scores);
        order(b->scores, spec->experts, top_k);
        weigh(b->scores, top_k, &b->table.expert[t * top_k], &b->table.weight[t * top_k]);
    }
    return seconds_used() - start;
}

static double median(const double *seconds)
{
    moe_summary_t summary;
    return moe_summarise(seconds, REPETITIONS, &summary, NULL) == MOE_OK ? summary.median : NAN;
}

static void measure(bench_t *b, const char *what)
{
    double race[REPETITIONS], sorted[REPETITIONS], selected[REPETITIONS];
    time_race(b);
    for (size_t r = 0; r < REPETITIONS; r++, b->next_token += TOKENS) {
        race[r] = time_race(b);
        sorted[r] = time_scores(b, sort_all);
        selected[r] = time_scores(b, select_best);
    }
    const double selections = (double)TOKENS * (double)b->table.top_k;
    printf("routing %-28s %8.1f M selections/s  (all scores and qsort %.2f M/s, ratio %.0f; all "
           "scores and partial selection %.2f M/s, ratio %.0f)\n",
           what, selections / median(race) * 1e-6, selections / median(sorted) * 1e-6,
           median(sorted) / median(race), selections / median(selected) * 1e-6,
           median(selected) / median(race));
}

static moe_status_t run(size_t experts, size_t top_k, const char *skew, moe_error_t *error)
{
    bench_t b = {0};
    moe_routing_spec_t spec = {.experts = experts, .top_k = top_k, .seed = 1};
    char what[64];
    snprintf(what, sizeof what, "E=%zu K=%zu %s", experts, top_k, skew);
    moe_status_t status = moe_gate_find("softmax", &spec.gate, error);
    if (status == MOE_OK)
        status = moe_skew_parse("skew", skew, &spec.skew, error);
    if (status == MOE_OK)
        status = moe_router_create(&spec, 0, &b.router, error);
    if (status == MOE_OK)
        status = moe_table_create(TOKENS, top_k, &b.table, error);
    b.log_popularity = calloc(experts, sizeof *b.log_popularity);
    b.scores = calloc(experts, sizeof *b.scores);
    if (status == MOE_OK && b.log_popularity != NULL && b.scores != NULL) {
        for (size_t e = 0; e < experts; e++)
            b.log_popularity[e] = log(moe_router_popularity(b.router)[e]);
        measure(&b, what);
    }
    free(b.scores);
    free(b.log_popularity);
    moe_table_destroy(&b.table);
    moe_router_destroy(b.router);
    return status;
}

int main(void)
{
    static const struct {
        size_t experts, top_k;
        const char *skew;
    } cases[] = {
        {256, 8, "zipf:1.0"},     {256, 8, "uniform"}, {256, 8, "balanced"},
        {256, 8, "hot:1,0.9999"}, {64, 8, "zipf:1.0"}, {8, 2, "zipf:1.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moe_error_t error = {0};
        if (run(cases[i].experts, cases[i].top_k, cases[i].skew, &error) != MOE_OK)
            printf("routing: %s\n", error.text);
    }
    return 0;
}
