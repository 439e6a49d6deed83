/* How a suite ends: its results judged by rules, and a report. */
#ifndef BENCH_SUITE_VERDICT_H
#define BENCH_SUITE_VERDICT_H

#include "suite_items.h"
#include "world.h"

/* What became of an item. */
typedef enum suite_state {
    SUITE_DONE,    /* now */
    SUITE_BEFORE,  /* by an earlier call */
    SUITE_NO_TIME, /* not run */
    SUITE_REFUSED  /* could not be run */
} suite_state_t;

typedef struct suite {
    world_t *world;
    const suite_profile_t *profile;
    const char *folder;
    suite_state_t *state; /* [profile->items] */
    double *seconds;      /* [profile->items] that it took; 0: not known */
} suite_t;

#define SUITE_PATH 4096
/* DIR/NAME.ENDING; refuses what is too long. */
moe_status_t suite_path(const suite_t *suite, const char *name, const char *ending,
                        char path[SUITE_PATH], moe_error_t *error);

/* Rank 0 only. MOE_OK for PASS, else the status of FAIL or INCONCLUSIVE; writes verdict.jsonl,
 * verdict-RULES.xml and report.md into the folder. What was not run fails, or is inconclusive where
 * there was no time for it. */
moe_status_t suite_judge(const suite_t *suite, moe_error_t *error);

#endif
