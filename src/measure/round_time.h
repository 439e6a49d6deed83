/* Starting repetitions together by the common clock (Hunold and Carpen-Amarie, IEEE CLUSTER 2018: the
 * scheme Round-Time). */
#ifndef MOE_MEASURE_ROUND_TIME_H
#define MOE_MEASURE_ROUND_TIME_H

#include "moe/measure.h"

/* The start lies so many broadcasts ahead. After an invalid repetition at least twice as many, and enough
 * for the rank that was latest; after MOE_ROUND_GOOD valid ones in a row a tenth less. Never further than
 * the longest lead. */
#define MOE_ROUND_FIRST        16.0
#define MOE_ROUND_LEAST        4.0
#define MOE_ROUND_MOST         4096.0
#define MOE_ROUND_LEAD_SECONDS 5e-3
#define MOE_ROUND_GOOD         16
/* After so many invalid ones in a row it is given up: somebody is late whatever the lead. */
#define MOE_ROUND_HOPELESS 20

typedef struct moe_round {
    moe_clock_t *clock;
    double broadcast; /* seconds that one takes */
    double ahead;     /* the lead, in broadcasts */
    size_t good, bad; /* valid, invalid repetitions in a row */
} moe_round_t;

/* Collective: measures the broadcast. */
moe_status_t moe_round_create(moe_clock_t *clock, moe_round_t *out, moe_error_t *error);

/* Collective: returns at the common start, or at once on a rank that is late for it. late: seconds; 0: in
 * time. */
moe_status_t moe_round_start(const moe_round_t *round, moe_transport_t *t, double *late,
                             moe_error_t *error);

/* Collective, by one all-reduce: whether a rank was late, and whether rank 0 says that time is out. */
moe_status_t moe_round_end(moe_round_t *round, moe_transport_t *t, double late, bool out_of_time,
                           bool *invalid, bool *stop, moe_error_t *error);

#endif
