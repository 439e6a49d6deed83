#include "normal.h"

#include <math.h>

/* By Newton's steps on erfc(z / sqrt(2)) = 1 - confidence: erfc is convex for z > 0, so that from a
 * start below the root every step stays below it and none overshoots. */
double moe_normal_quantile(double confidence)
{
    const double wanted = 1 - confidence, density_0 = 0.7978845608028654; /* sqrt(2 / pi) */
    double z = 0, step = 1;
    while (step > 1e-14 * (1 + z)) {
        step = (erfc(z * M_SQRT1_2) - wanted) / (density_0 * exp(-z * z / 2));
        z += step;
    }
    return z;
}
