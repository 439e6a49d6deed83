/* Stages for a traffic matrix: in each, a port sends to at most one and receives from at most one. A
 * pure function of the matrix: all ranks that know it find the same stages.
 *
 * A matrix whose rows and columns all have the sum D is a sum of permutations (G. Birkhoff, 1946; J.
 * von Neumann, 1953), so stages of total length D carry it. Any matrix becomes one by padding it up
 * to its largest row or column sum, the bottleneck port's load: then no schedule is shorter. C.-S.
 * Chang, W.-J. Chen, H.-Y. Huang: Birkhoff-von Neumann input buffered crossbar switches, INFOCOM 2000;
 * for all-to-all of MoE: FAST, arXiv 2505.09764. */
#ifndef MOE_EXCHANGE_BIRKHOFF_SCHEDULE_H
#define MOE_EXCHANGE_BIRKHOFF_SCHEDULE_H

#include <stddef.h>

#include "moe/status.h"

/* The stages' total length is at most bottleneck + bottleneck / this (integers). */
#define MOE_BIRKHOFF_SLACK 100

typedef struct moe_birkhoff {
    size_t ports, stages;
    size_t bottleneck; /* rows: largest sum of a row or a column */
    size_t length;     /* rows: sum over stages of the longest block in each */
    size_t *to;        /* [stages][ports] whom a port sends to; `ports`: nobody */
    size_t *rows;      /* [stages][ports] how many; 0: nobody */
} moe_birkhoff_t;

/* matrix[ports][ports]: rows from a port (outer index) to a port (inner); its diagonal does not count.
 * Blocks are split where that makes stages fit; the rows of all stages add up to the matrix. At most
 * ports^2 - 2 * ports + 2 stages, and far fewer as a rule. MOE_BAD_INPUT where sums pass SIZE_MAX or
 * memory is short. Destroy *out with moe_birkhoff_destroy(). */
moe_status_t moe_birkhoff_decompose(const size_t *matrix, size_t ports, moe_birkhoff_t *out,
                                    moe_error_t *error);
/* Of a zeroed one: no effect. */
void moe_birkhoff_destroy(moe_birkhoff_t *schedule);

#endif
