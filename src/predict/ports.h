/* What the ports of a machine carry when all messages of a way are under way at once. */
#ifndef MOE_PREDICT_PORTS_H
#define MOE_PREDICT_PORTS_H

#include "moe/predict.h"

enum { MOE_SENT, MOE_RECEIVED, MOE_DIRECTIONS };

/* Of one tier, by port: rank r has port r / ranks_per_port. */
typedef struct moe_tier_load {
    size_t ports;
    double *rows[MOE_DIRECTIONS], *variance[MOE_DIRECTIONS], *messages[MOE_DIRECTIONS];
} moe_tier_load_t;

typedef struct moe_ports {
    moe_tier_load_t tier[MOE_MOST_TIERS];
} moe_ports_t;

moe_status_t moe_ports_create(const moe_way_t *way, const moe_machine_t *machine, moe_ports_t *out,
                              moe_error_t *error);
void moe_ports_destroy(moe_ports_t *ports);

/* First tier that joins two ranks. */
size_t moe_tier_between(const moe_machine_t *machine, size_t a, size_t b);

/* Ranks of a way's scope: those at places [first, last), of which the one at place p is moe_way_rank(p). */
size_t moe_way_place(const moe_way_t *way, size_t rank);
size_t moe_way_rank(const moe_way_t *way, size_t place);
void moe_way_members(const moe_way_t *way, size_t place, size_t *first, size_t *last);
/* Chance that there is a message from a source to a rank at all: blocks of no rows are not sent. */
double moe_way_sends(const moe_way_t *way, size_t rank);

/* Time of the busiest port, in *out: added. tier_mask: bit t is set for tiers that count; all: ~0. */
moe_status_t moe_ports_cost(const moe_ports_t *ports, const moe_machine_t *machine, unsigned tiers,
                            double row_bytes, double rounds, moe_cost_t *out, moe_error_t *error);

/* The cost of one message of so many bytes, added `times` times; `sharing` ranks send through its port. */
void moe_cost_message(const moe_machine_t *machine, size_t tier, double bytes, double sharing,
                      double times, moe_cost_t *out);
/* Ranks that share a port and cross this tier at once. */
double moe_tier_sharing(const moe_machine_t *machine, size_t tier, size_t ranks);

#endif
