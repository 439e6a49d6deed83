/* What a suite runs, and the command line of each item. */
#ifndef BENCH_SUITE_ITEMS_H
#define BENCH_SUITE_ITEMS_H

#include "commands.h"
#include "config.h"

typedef struct suite_item {
    const char *name; /* of its files */
    const command_entry_t *entry;
    const char *words; /* its own options, with blanks between */
    size_t rows;       /* that are measured, about: what --max-seconds is shared out by */
} suite_item_t;

typedef struct suite_profile {
    const char *name;
    double seconds; /* in all, where --max-seconds does not say */
    const suite_item_t *item;
    size_t items;
} suite_profile_t;

moe_status_t suite_find(const char *name, const suite_profile_t **out, moe_error_t *error);

/* argv of an item: its own words, the options of the suite that the command takes, a share of
 * `seconds`, and `records` for --json. *count words; freed with suite_free_line(). */
moe_status_t suite_line(const suite_profile_t *profile, const suite_item_t *item,
                        const config_t *config, double seconds, const char *records, int *count,
                        char ***line, moe_error_t *error);
void suite_free_line(char **line);
/* What measuring an item takes at the most, without set-up and checks. */
double suite_item_seconds(const suite_profile_t *profile, const suite_item_t *item, double seconds);

#endif
