#include "layer_summary.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"

static int by_total(const void *a, const void *b)
{
    const layer_outcome_t *x = a, *y = b;
    const double tx = x->time[MOE_LAYER_TOTAL].median, ty = y->time[MOE_LAYER_TOTAL].median;
    return (tx > ty) - (tx < ty);
}

/* What the others are held against: all-to-all-v by the library; NULL where it was not measured. */
static const layer_outcome_t *reference(const layer_outcome_t *outcomes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(outcomes[i].style->name, "exact") == 0 &&
            strcmp(outcomes[i].algorithm->name, "native") == 0) {
            return &outcomes[i];
        }
    }
    return NULL;
}

void print_layer_summary(FILE *out, layer_outcome_t *outcomes, size_t count)
{
    qsort(outcomes, count, sizeof *outcomes, by_total);
    const layer_outcome_t *exact = reference(outcomes, count);
    fprintf(out,
            "\nfastest first; MB of dispatch and combine by tier, all ranks\n"
            "%-16s %-12s %12s %12s %12s  %-34s %12s %12s %14s\n",
            "style", "algorithm", "self", "in node", "between", "total us [95 % interval]",
            "dispatch us", "combine us", "to exact native");
    for (size_t i = 0; i < count; i++) {
        const layer_outcome_t *o = &outcomes[i];
        const bool by_another = strcmp(o->chosen, o->algorithm->name) != 0;
        char total[64], ratio[24];
        format_interval(total, sizeof total, &o->time[MOE_LAYER_TOTAL], 1e6, 1);
        format_or_na(ratio, sizeof ratio, exact != NULL,
                     exact != NULL
                         ? o->time[MOE_LAYER_TOTAL].median / exact->time[MOE_LAYER_TOTAL].median
                         : 0,
                     2);
        fprintf(out, "%-16s %-12s %12.3f %12.3f %12.3f  %-34s %12.1f %12.1f %14s%s%s\n",
                o->style->name, o->algorithm->name, (double)o->tiers.self / 1e6,
                (double)o->tiers.intra_node / 1e6, (double)o->tiers.inter_node / 1e6, total,
                o->time[MOE_LAYER_DISPATCH].median * 1e6, o->time[MOE_LAYER_COMBINE].median * 1e6,
                ratio, by_another ? "  by " : "", by_another ? o->chosen : "");
    }
}
