/* The best few of what is offered one after another. */
#ifndef MOE_ROUTING_BEST_H
#define MOE_ROUTING_BEST_H

#include <stddef.h>
#include <stdint.h>

typedef struct moe_best {
    size_t room, count; /* room 0: nothing is kept */
    int32_t *which;     /* [room] highest value first; of equal ones, the one that came first */
    double *value;      /* [room] */
} moe_best_t;

static inline void moe_best_offer(moe_best_t *best, size_t which, double value)
{
    size_t at;
    if (best->count < best->room)
        at = best->count++;
    else if (best->room > 0 && value > best->value[best->room - 1])
        at = best->room - 1;
    else
        return;
    for (; at > 0 && best->value[at - 1] < value; at--) {
        best->value[at] = best->value[at - 1];
        best->which[at] = best->which[at - 1];
    }
    best->value[at] = value;
    best->which[at] = (int32_t)which;
}

#endif
