/* Sums of costs. */
#include <stdio.h>

#include "moe/predict.h"

double moe_terms_sum(const moe_terms_t *terms)
{
    double sum = terms->latency + terms->overhead + terms->memory;
    for (size_t t = 0; t < MOE_MOST_TIERS; t++)
        sum += terms->bytes[t];
    return sum;
}

void moe_terms_add(moe_terms_t *sum, const moe_terms_t *part, double times)
{
    sum->latency += times * part->latency;
    sum->overhead += times * part->overhead;
    sum->memory += times * part->memory;
    for (size_t t = 0; t < MOE_MOST_TIERS; t++)
        sum->bytes[t] += times * part->bytes[t];
}

void moe_cost_add(moe_cost_t *sum, const moe_cost_t *part, double times)
{
    moe_terms_add(&sum->terms, &part->terms, times);
    for (size_t t = 0; t < MOE_MOST_TIERS; t++) {
        sum->steps[t] += times * part->steps[t];
        sum->messages[t] += times * part->messages[t];
        sum->bytes[t] += times * part->bytes[t];
    }
}

double moe_forecast_dominating(const moe_forecast_t *f, const moe_machine_t *machine, char *text,
                               size_t size)
{
    struct {
        double seconds;
        const char *name;
    } terms[5 + MOE_MOST_TIERS] = {
        {f->compute_only, "compute"},
        {f->part[MOE_PART_PERMUTE] + f->terms.memory, "permutation (memory bandwidth)"},
        {f->wait, "wait for the rank with most rows for its experts"},
        {f->terms.latency, "latency"},
        {f->terms.overhead, "overhead of messages"},
    };
    double most = f->part[MOE_PART_ALLREDUCE];
    snprintf(text, size, "all-reduce of gradients");
    for (size_t t = 0; t < 5 + machine->tiers; t++) {
        const bool link = t >= 5;
        const double seconds = link ? f->terms.bytes[t - 5] : terms[t].seconds;
        if (seconds > most) {
            most = seconds;
            snprintf(text, size, "%s%s", link ? machine->tier[t - 5].name : terms[t].name,
                     link ? " bandwidth" : "");
        }
    }
    return most;
}
