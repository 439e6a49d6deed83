/* Who is slow: ranks, hosts and links that stand out from the others, by a robust rule.
 *
 * Of values x[n], all of one kind:
 *     center  the median of x
 *     scale   1.4826 * b(n) * median of |x[i] - center|: the median absolute deviation (MAD), made
 *             consistent with the standard deviation of a normal law (1.4826 = 1 / 0.6745, its upper
 *             quartile; Hampel, JASA 69, 1974, doi 10.2307/2285666), with the factor b(n) for small n
 *             of Croux and Rousseeuw (COMPSTAT 1992, doi 10.1007/978-3-662-26811-7_58)
 *     limit   center + max(mads * scale, floor * center)
 * A value above the limit stands out. Half of the values may be bad before center and scale are. Only slow
 * is looked for. The floor keeps the noise of a quiet machine from accusing where all values lie close
 * together, and decides alone where more than half of them are equal (scale 0).
 *
 * All is deterministic; ties never stand out from each other. */
#ifndef MOE_OUTLIERS_H
#define MOE_OUTLIERS_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moe_outlier_rule {
    double mads;  /* in units of scale */
    double floor; /* share of the center */
} moe_outlier_rule_t;

/* 5 and 10 %. Of 4 to 16 ranks with normal noise of 5 % in every time, fewer than 2 runs in 100 accuse
 * anybody, with 2 % none (counted in tests/unit/test_outliers.c). Iglewicz and Hoaglin (1993) take 3.5
 * for one value of one sample; here many are looked at. */
extern const moe_outlier_rule_t moe_outlier_rule;

typedef struct moe_spread {
    size_t n;
    double center, scale;
} moe_spread_t;

/* n > 0; the values may stand in any order and are not changed. */
moe_status_t moe_spread_of(const double *values, size_t n, moe_spread_t *out, moe_error_t *error);
double moe_spread_limit(const moe_spread_t *spread, const moe_outlier_rule_t *rule);

/* ---- Findings ---- */

typedef enum moe_slow {
    MOE_SLOW_SENDER,   /* a rank whose messages are slow to whomever they go */
    MOE_SLOW_RECEIVER, /* a rank to which messages are slow from wherever they come */
    MOE_SLOW_RANK,     /* both; or a rank that takes long, by its own times */
    MOE_SLOW_LINK, /* messages between two ranks, or any of two hosts, that are no slower to others */
    MOE_SLOW_HOST, /* all ranks of a host */
    MOE_SLOW_KINDS
} moe_slow_t;
const char *moe_slow_name(moe_slow_t what); /* "sender" */

/* Which pairs a finding is about: those of ranks that share a host are a population of their own. */
typedef enum moe_reach { MOE_REACH_BETWEEN, MOE_REACH_WITHIN, MOE_REACHES } moe_reach_t;
const char *moe_reach_name(moe_reach_t reach); /* "between hosts" */

typedef struct moe_finding {
    moe_slow_t what;
    bool sending, receiving; /* of a link: from `rank` to `to`, and back */
    size_t rank;             /* of a host: its lowest rank; of a link: where it begins */
    size_t to;               /* of a link: where it ends; else the same as rank */
    size_t ranks;            /* of a host: how many; else 1 */
    size_t pairs;            /* of a link between hosts: pairs of ranks that use it; else 1 */
    double value;            /* seconds: of a link its message, else the median of its messages */
    double others;           /* what it should be: the center */
    double limit;            /* what it would have to exceed */
    double mads;             /* (value - others) / scale; 0 where scale is 0 */
} moe_finding_t;

typedef enum moe_judged {
    MOE_JUDGED_NOTHING, /* too few to tell */
    MOE_JUDGED_LINKS,   /* too few ranks to tell a slow sender from a slow link: links only */
    MOE_JUDGED_ALL
} moe_judged_t;

typedef struct moe_findings {
    moe_judged_t judged;
    size_t ranks, pairs; /* that were looked at; pairs: in each direction */
    double center; /* seconds: median over ranks, or over pairs where only links were judged */
    size_t count;
    moe_finding_t *finding; /* hosts, ranks, links; each in order of ranks */
} moe_findings_t;
void moe_findings_destroy(moe_findings_t *findings);

/* ---- Pairs ---- */

/* Times of one message in each direction between ranks. */
typedef struct moe_pair_times {
    size_t ranks;
    const double *seconds; /* [from][to]; 0 or less: not measured, and the diagonal is not read */
    const size_t *node;    /* [ranks] ranks with the same number share a host; 0 <= node < ranks */
} moe_pair_times_t;

/* Fewest ranks, and messages of each rank in each direction, for which a sender or a receiver can be
 * told from a link; fewest pairs for which a link stands out. */
#define MOE_OUTLIER_RANKS    4
#define MOE_OUTLIER_MESSAGES 3
#define MOE_OUTLIER_PAIRS    4

/* Judges the pairs of one reach.
 *
 * A rank's sending time is the median of its row, its receiving time that of its column (of an even
 * number the lower of the two in the middle): more than half of its messages must be slow, so that one slow
 * peer or link does not make a rank slow. The sending and receiving times of all ranks are one
 * population, and the rule is applied to it. A host is named where all its ranks stand out in a
 * direction; a host with one rank where that stands out in both (in one direction its rank is named).
 *
 * A message is expected to take what its slow sender or receiver takes, and the population's center
 * where neither stands out. The rule is applied to times / expected times: what stands out there is a
 * link. Where all pairs of two hosts do in a direction, they are one link.
 *
 * Fewer than half of the ranks must be slow; if most are, or all alike, nothing stands out: compare
 * with another run or with the rate of the link then. */
moe_status_t moe_outliers_of_pairs(const moe_pair_times_t *times, moe_reach_t reach,
                                   const moe_outlier_rule_t *rule, moe_findings_t *out,
                                   moe_error_t *error);

/* ---- Ranks ---- */

/* Times of ranks in one phase, by their own clocks. */
typedef struct moe_rank_times {
    size_t ranks;
    const double *seconds; /* [ranks] */
    const double *load;    /* [ranks] what each has to do, in any unit; NULL: the same */
    const size_t *node;    /* [ranks] as above */
} moe_rank_times_t;

/* Judges ranks by their own times. A rank that has more than the median of the load may take so many
 * times as long: its time is divided by load / median load where that is above 1. Hosts of several
 * ranks are named where all their ranks stand out. */
moe_status_t moe_outliers_of_ranks(const moe_rank_times_t *times, const moe_outlier_rule_t *rule,
                                   moe_findings_t *out, moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
