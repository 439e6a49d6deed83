/* Checks that every transport makes of an all-to-all-v before it runs. */
#ifndef MOE_TRANSPORT_ROW_BLOCKS_H
#define MOE_TRANSPORT_ROW_BLOCKS_H

#include "moe/transport.h"

/* MOE_FAILED where this rank's block for itself has two sizes, or `uniform` is not true here: the
 * library's call would then move other rows than the plan says. */
moe_status_t moe_transport_check_blocks(const moe_transport_t *t, const moe_alltoallv_t *x,
                                        moe_error_t *error);

#endif
