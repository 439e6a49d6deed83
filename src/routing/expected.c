#include "expected.h"

#include "real.h"

double moe_expected_time(const double *popularity, size_t experts, size_t top_k)
{
    const int most_steps = 60;
    double t = (double)top_k;
    for (int i = 0; i < most_steps; i++) {
        double sum = 0, slope = 0;
        for (size_t e = 0; e < experts; e++) {
            const double rest = moe_real_exp(-popularity[e] * t);
            sum += 1 - rest;
            slope += popularity[e] * rest;
        }
        const double step = slope > 0 ? ((double)top_k - sum) / slope : 0;
        if (!(step > 1e-12 * t))
            break;
        t += step;
    }
    return t;
}

void moe_router_loads(const moe_router_t *router, double *load)
{
    const size_t experts = router->spec.experts;
    if (moe_skew_is_traced(&router->spec.skew)) { /* its popularity is made of what was chosen */
        for (size_t e = 0; e < experts; e++)
            load[e] = router->popularity[e];
        return;
    }
    const double t = moe_expected_time(router->popularity, experts, router->spec.top_k);
    double sum = 0;
    for (size_t e = 0; e < experts; e++) {
        load[e] = 1 - moe_real_exp(-router->popularity[e] * t);
        sum += load[e];
    }
    for (size_t e = 0; e < experts; e++)
        load[e] /= sum;
}
