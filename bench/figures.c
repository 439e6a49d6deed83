#include "figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Half a unit of the last published digit, and what rounding of doubles adds to it. */
#define HALF 0.5000001

static int decimals_of(const char *published)
{
    const char *point = strchr(published, '.');
    return point != NULL ? (int)strlen(point + 1) : 0;
}

static figure_verdict_t judge(const figure_t *f, bool exact, allowance_t a)
{
    const double off = fabs(f->computed - f->value);
    if (a.points >= 0) {
        return off <= a.points ? FIGURE_WITHIN : FIGURE_OUTSIDE;
    }
    if (a.percent >= 0) {
        return off <= a.percent / 100 * fabs(f->value) ? FIGURE_WITHIN : FIGURE_OUTSIDE;
    }
    if (!exact) {
        return FIGURE_BESIDE;
    }
    return off <= HALF * pow(10, -f->decimals) ? FIGURE_EQUAL : FIGURE_UNEQUAL;
}

moe_status_t figures_add(figures_t *figures, const char *label, const char *quantity,
                         const char *published, double computed, bool exact, allowance_t allowance,
                         moe_error_t *error)
{
    moe_status_t status = moe_grow("figures", figures->count, sizeof *figures->figure,
                                   (void **)&figures->figure, &figures->room, error);
    if (status != MOE_OK) {
        return status;
    }
    figure_t f = {.computed = computed, .simulated = NAN, .decimals = decimals_of(published)};
    snprintf(f.label, sizeof f.label, "%s", label);
    snprintf(f.quantity, sizeof f.quantity, "%s", quantity);
    snprintf(f.published, sizeof f.published, "%s", published);
    status = moe_parse_real(quantity, published, -1e300, 1e300, &f.value, error);
    if (status != MOE_OK) {
        return status;
    }
    f.verdict = judge(&f, exact, allowance);
    figures->figure[figures->count++] = f;
    return MOE_OK;
}

void figures_destroy(figures_t *figures)
{
    free(figures->figure);
    *figures = (figures_t){0};
}

const char *figure_verdict_name(figure_verdict_t verdict)
{
    static const char *const names[] = {[FIGURE_EQUAL] = "equal",
                                        [FIGURE_UNEQUAL] = "NOT EQUAL",
                                        [FIGURE_WITHIN] = "within",
                                        [FIGURE_OUTSIDE] = "OUTSIDE",
                                        [FIGURE_BESIDE] = ""};
    return names[verdict];
}

bool figure_is_bad(const figure_t *figure)
{
    return figure->verdict == FIGURE_UNEQUAL || figure->verdict == FIGURE_OUTSIDE;
}

double figure_deviation(const figure_t *figure, double ours)
{
    return figure->value != 0 ? ours / figure->value - 1 : ours;
}
