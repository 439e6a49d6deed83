/* Geometric means of the ratios of a comparison. */
#ifndef MOE_VERDICT_MEANS_H
#define MOE_VERDICT_MEANS_H

#include "moe/verdict.h"

/* Fills c->mean, which has room for as many as there are rows. */
void moe_find_means(moe_comparison_t *c);

#endif
