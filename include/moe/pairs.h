/* Every pair of ranks by itself: the schedule, one message in each direction, and its check. */
#ifndef MOE_PAIRS_H
#define MOE_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/device.h"
#include "moe/exchange.h"
#include "moe/measure.h"
#include "moe/status.h"
#include "moe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The schedule: a round-robin tournament ----
 *
 * Rounds in which every rank has one partner at most, so that pairs that run together share no port, and
 * in all of which every pair occurs once. By the circle method (Kirkman 1847; de Werra, Discrete Applied
 * Mathematics 4, 1982, doi 10.1016/0166-218X(82)90042-4): in round r of an odd number n the partner of i is
 * (r - i) modulo n, who would meet itself rests, and an even number's last player meets the one who would
 * rest among the others.
 *
 * Ranks of a host may share a port to other hosts. So hosts play the tournament first: in each of its
 * rounds all ranks of a host meet those of one other host, shifted by 0, 1, 2, ..., and a port carries
 * as many messages for one pair as for any other. Ranks of the same host meet afterwards. With one rank a
 * host or one host for all this is the plain tournament: N - 1 rounds for an even N, N for an odd one;
 * with R ranks on each of M hosts it is N - 1 where M and R are even. */
typedef struct moe_pair_schedule {
    size_t ranks, rounds;
    size_t hosts, slots; /* slots: ranks of the host that has most */
    size_t *host, *slot; /* [ranks] */
    size_t *member;      /* [hosts][slots] ranks; `ranks` where there is none */
} moe_pair_schedule_t;

/* node[ranks]: ranks with the same number share a host. Local. */
moe_status_t moe_pair_schedule_create(const size_t *node, size_t ranks, moe_pair_schedule_t *out,
                                      moe_error_t *error);
void moe_pair_schedule_destroy(moe_pair_schedule_t *schedule);
/* The partner of a rank in a round; the rank itself where it rests. */
size_t moe_pair_schedule_partner(const moe_pair_schedule_t *schedule, size_t round, size_t rank);
/* Which of two partners sends first: the same side for all pairs of two hosts. */
bool moe_pair_schedule_first(const moe_pair_schedule_t *schedule, size_t rank, size_t partner);

/* ---- Messages ----
 *
 * One direction at a time: a time that both directions share does not say which of the two ranks is slow
 * to send and which to receive. Receivers post their receives, all ranks meet in a barrier, and the sender
 * takes its time from there to the receiver's acknowledgement of the whole message, on its own clock:
 * neither how late the receiver came nor what the library buffers is in it, but one small message back
 * is. */
typedef struct moe_pairs moe_pairs_t;

typedef struct moe_pairs_spec {
    moe_transport_t *transport; /* borrowed, as is the device */
    moe_device_t *device;
    size_t bytes;       /* of a message: even, above 0 */
    const size_t *node; /* [ranks], read in create() only */
} moe_pairs_spec_t;

#define MOE_PAIRS_BYTES_MAX ((size_t)1 << 30)
/* Bytes of rows that a rank needs. */
size_t moe_pairs_memory(size_t bytes);

/* Local, but datatypes. MOE_BAD_INPUT for an odd number of bytes, 0, or more than the largest. */
moe_status_t moe_pairs_create(const moe_pairs_spec_t *spec, moe_pairs_t **out, moe_error_t *error);
void moe_pairs_destroy(moe_pairs_t *pairs);

/* Two columns a round: one for each direction. */
size_t moe_pairs_columns(const moe_pairs_t *pairs);
/* To whom this rank sends in that column; false where it does not. */
bool moe_pairs_to(const moe_pairs_t *pairs, size_t column, size_t *to);

/* A moe_repeat_fn (context: the moe_pairs_t): all rounds, a barrier before each direction, so that pairs of a
 * round start together. seconds[columns]: of this rank's messages; 0 where it sends none. */
moe_status_t moe_pairs_repeat(void *pairs, double *seconds, moe_error_t *error);

typedef struct moe_pairs_result {
    size_t errors;   /* wrong elements of 2 bytes over all pairs; the rest describes the first */
    size_t from, to; /* ranks */
    moe_mismatch_t mismatch;
} moe_pairs_result_t;

/* Collective: one message in each direction of every pair, whose elements depend on both ranks; the receive
 * buffer is poisoned before. MOE_CHECK_SAMPLE looks at all of it too: there is but one row a message. All
 * ranks get the same result. */
moe_status_t moe_pairs_check(moe_pairs_t *pairs, moe_check_t how, moe_pairs_result_t *out,
                             moe_error_t *error);
void moe_pairs_describe(const moe_pairs_result_t *result, char *text, size_t size);

/* Of one message, in seconds; small, since there are ranks * (ranks - 1) of them. */
typedef struct moe_pair_time {
    double median, min;
    double low, high; /* 95 % interval of the median; 0 where there are too few repetitions */
} moe_pair_time_t;

/* Collective: from a series of moe_pairs_repeat(), the times of every message, on all ranks:
 * out[from * ranks + to], 0 on the diagonal. */
moe_status_t moe_pairs_times(const moe_pairs_t *pairs, const moe_series_t *series,
                             moe_pair_time_t *out, moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
