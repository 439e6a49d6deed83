/* Rules made of a few words. */
#ifndef TESTS_UNIT_RULES_SETTING_H
#define TESTS_UNIT_RULES_SETTING_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/verdict.h"

static inline moe_status_t read_rules_of(const char *text, moe_rules_t *out, moe_error_t *error)
{
    char path[] = "/tmp/moe-rules-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
    const moe_status_t status = moe_rules_read(path, out, error);
    unlink(path);
    return status;
}

#define RULES(list) "{\"schema\":1,\"rules\":[" list "]}"
#define RULE(select, metric, condition, more)                                                      \
    "{\"select\":{\"record\":\"exchange\"" select "},\"metric\":\"" metric                         \
    "\",\"condition\":\"" condition "\"" more "}"

#endif
