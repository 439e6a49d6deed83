/* Ratios of two independent medians, with intervals; no distribution is assumed. */
#include <math.h>
#include <stdlib.h>

#include "moe/measure.h"
#include "moe/verdict.h"
#include "normal.h"
#include "ratio_samples.h"

const char *moe_ratio_method_name(moe_ratio_method_t method)
{
    static const char *const names[] = {[MOE_RATIO_NONE] = "none",
                                        [MOE_RATIO_INTERVALS] = "intervals",
                                        [MOE_RATIO_SAMPLES] = "samples",
                                        [MOE_RATIO_EXACT] = "exact"};
    return names[method];
}

void moe_estimate_destroy(moe_estimate_t *estimate)
{
    free(estimate->sample);
    *estimate = (moe_estimate_t){0};
}

/* How far below the logarithm of top / bottom its interval ends. Each estimate brings the distance
 * from its value to the end of its own interval that counts against it, and independent distances add
 * up as squares (MOVER: Donner and Zou, Stat. Methods Med. Res. 21, 2012; for ratios Newcombe, ibid. 25,
 * 2016). They are stretched from 95 % to `confidence` as those of a normal median would be. */
static double distance(const moe_estimate_t *top, const moe_estimate_t *bottom, double confidence)
{
    const double stretch =
        moe_normal_quantile(confidence) / moe_normal_quantile(MOE_RECORDED_CONFIDENCE);
    return stretch * hypot(log(top->value / top->low), log(bottom->high / bottom->value));
}

static bool by_intervals(const moe_estimate_t *top, const moe_estimate_t *bottom, double confidence,
                         moe_ratio_t *out)
{
    if (!top->has_interval || !bottom->has_interval || !(top->low > 0) || !(bottom->low > 0))
        return false;
    out->low = out->ratio * exp(-distance(top, bottom, confidence));
    out->high = out->ratio * exp(distance(bottom, top, confidence));
    out->method = MOE_RATIO_INTERVALS;
    return true;
}

static bool by_samples(const moe_estimate_t *top, const moe_estimate_t *bottom, double confidence,
                       moe_ratio_t *out)
{
    double low, inverse;
    if (top->sample == NULL || bottom->sample == NULL ||
        !moe_samples_ratio_low(top, bottom, confidence, &low) ||
        !moe_samples_ratio_low(bottom, top, confidence, &inverse))
        return false;
    out->low = low;
    out->high = 1 / inverse;
    out->method = MOE_RATIO_SAMPLES;
    return true;
}

void moe_ratio_of(const moe_estimate_t *top, const moe_estimate_t *bottom, double confidence,
                  moe_ratio_t *out)
{
    *out = (moe_ratio_t){.ratio = bottom->value > 0 ? top->value / bottom->value : NAN};
    if (!(top->value > 0) || !(bottom->value > 0))
        return;
    if (top->exact && bottom->exact) {
        out->low = out->high = out->ratio;
        out->method = MOE_RATIO_EXACT;
    } else if (!by_samples(top, bottom, confidence, out)) {
        (void)by_intervals(top, bottom, confidence, out);
    }
}
