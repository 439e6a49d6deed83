/* Ratios to one base are averaged by the geometric mean (Fleming and Wallace, CACM 29, 1986), and only
 * where an average says something:
 *   - of rows of one phase: the phases of a layer are parts of its total, and would count twice;
 *   - of one size: an average over a sweep of sizes says nothing about any of them;
 *   - where rows do not contradict each other, some faster and some slower: their average would hide it.
 * The rows were measured one by one: their distances on the logarithm add up as squares, as in ratio.c. */
#include "means.h"

#include <math.h>
#include <string.h>

static const char *phase_of(const moe_comparison_row_t *row)
{
    const char *phase = moe_result_text(row->a->launch[0], "phase");
    return phase[0] != '\0' ? phase : moe_result_text(row->a->launch[0], "record");
}

static double size_of(const moe_comparison_row_t *row)
{
    return json_number_value(moe_result_at(row->a->launch[0], "bytes_per_pair"));
}

static moe_comparison_mean_t mean_of(const moe_comparison_t *c, const char *phase)
{
    moe_comparison_mean_t mean = {.phase = phase, .least = INFINITY, .sound = true};
    double sum = 0, below = 0, above = 0, size = -1;
    size_t calls[3] = {0};
    bool intervals = true;
    for (size_t i = 0; i < c->rows; i++) {
        const moe_comparison_row_t *row = &c->row[i];
        if (strcmp(phase_of(row), phase) != 0)
            continue;
        const double r = row->ratio.ratio;
        mean.rows++;
        calls[row->call]++;
        mean.sound = mean.sound && (size < 0 || size == size_of(row));
        size = size_of(row);
        intervals = intervals && row->ratio.method != MOE_RATIO_NONE;
        sum += log(r);
        below += pow(log(r / row->ratio.low), 2);
        above += pow(log(row->ratio.high / r), 2);
        mean.least = fmin(mean.least, r);
        mean.most = fmax(mean.most, r);
    }
    const double n = (double)mean.rows;
    mean.sound = mean.sound && mean.rows > 1 && (calls[MOE_FASTER] == 0 || calls[MOE_SLOWER] == 0);
    mean.ratio = (moe_ratio_t){.ratio = exp(sum / n)};
    if (intervals) {
        mean.ratio.method = MOE_RATIO_INTERVALS;
        mean.ratio.low = exp((sum - sqrt(below)) / n);
        mean.ratio.high = exp((sum + sqrt(above)) / n);
    }
    return mean;
}

void moe_find_means(moe_comparison_t *c)
{
    for (size_t i = 0; i < c->rows; i++) {
        const char *phase = phase_of(&c->row[i]);
        bool known = false;
        for (size_t m = 0; m < c->means; m++)
            known = known || strcmp(c->mean[m].phase, phase) == 0;
        if (!known)
            c->mean[c->means++] = mean_of(c, phase);
    }
}
