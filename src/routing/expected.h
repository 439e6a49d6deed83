/* How often experts of a popularity are chosen. */
#ifndef MOE_ROUTING_EXPECTED_H
#define MOE_ROUTING_EXPECTED_H

#include "router.h"

/* The t at which sum over e of 1 - exp(-p_e t) = K: expert e is among a token's K with about that
 * probability (see moe_scenario_units()). The sum is concave in t and at most t: Newton's steps from K
 * grow towards the root and do not pass it. Where all experts are chosen there is none: it is left
 * large. */
double moe_expected_time(const double *popularity, size_t experts, size_t top_k);

#endif
