#include "capacity.h"

#include <math.h>
#include <string.h>

#include "moe/system.h"

static const char *const drop_names[] = {[MOE_DROP_POSITION] = "position",
                                         [MOE_DROP_PROBABILITY] = "probability",
                                         [MOE_DROP_RANDOM] = "random"};
enum { DROPS = sizeof drop_names / sizeof drop_names[0] };

moe_status_t moe_drop_parse(const char *what, const char *text, moe_drop_t *out, moe_error_t *error)
{
    for (size_t d = 0; d < DROPS; d++) {
        if (strcmp(text, drop_names[d]) == 0) {
            *out = (moe_drop_t)d;
            return MOE_OK;
        }
    }
    return moe_fail(error, MOE_BAD_INPUT,
                    "%s: \"%s\" is not a way to drop: position, probability or random", what, text);
}

const char *moe_drop_name(moe_drop_t drop)
{
    return drop_names[drop];
}

/* Decimal factors such as 1.1 are not binary fractions: 10 * 1.1 comes out a little above 11, and
 * its ceiling would be 12. The distance of a factor from the decimal that was meant is at most 2^-53
 * of it; this is well above that, and well below what a factor of 12 digits can mean. */
#define BINARY_FRACTION 1e-14L

size_t moe_capacity_slots(size_t tokens, size_t experts, size_t top_k, double factor, size_t min)
{
    const long double share =
        (long double)tokens * (long double)top_k * (long double)factor / (long double)experts;
    const long double slots = ceill(share - share * BINARY_FRACTION);
    if (!(slots < (long double)SIZE_MAX)) {
        return SIZE_MAX;
    }
    return (size_t)slots > min ? (size_t)slots : min;
}
