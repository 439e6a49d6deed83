/* What the tests of routing share: routers and tables from one line. */
#ifndef MOE_TESTS_ROUTING_CASES_H
#define MOE_TESTS_ROUTING_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "moe/routing.h"

static inline moe_routing_spec_t make_spec(const char *gate, size_t experts, size_t top_k,
                                           const char *skew, uint64_t seed)
{
    moe_error_t error = {0};
    moe_routing_spec_t spec = {.experts = experts, .top_k = top_k, .seed = seed};
    assert_int_equal(moe_gate_find(gate, &spec.gate, &error), MOE_OK);
    if (moe_skew_parse("--skew", skew, &spec.skew, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return spec;
}

static inline moe_router_t *make_router(const char *gate, size_t experts, size_t top_k,
                                        const char *skew, uint64_t seed, size_t layer)
{
    const moe_routing_spec_t spec = make_spec(gate, experts, top_k, skew, seed);
    moe_error_t error = {0};
    moe_router_t *router = NULL;
    if (moe_router_create(&spec, layer, &router, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return router;
}

static inline moe_table_t make_table(const moe_router_t *router, uint32_t step, uint64_t first,
                                     size_t tokens)
{
    moe_table_t table;
    assert_int_equal(moe_table_create(tokens, moe_router_spec(router)->top_k, &table, NULL),
                     MOE_OK);
    assert_int_equal(moe_router_route(router, step, first, &table, NULL), MOE_OK);
    return table;
}

static inline void assert_refused(const moe_routing_spec_t *spec, const char *said)
{
    moe_error_t error = {0};
    moe_router_t *router = NULL;
    assert_int_equal(moe_routing_check(spec, &error), MOE_BAD_INPUT);
    if (strstr(error.text, said) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, said);
    assert_int_equal(moe_router_create(spec, 0, &router, &error), MOE_BAD_INPUT);
    assert_null(router);
}

#endif
