#include "gate.h"

#include <stdio.h>
#include <string.h>

#include "moe/system.h"

static const moe_gate_ops_t *const gates[] = {
    &moe_gate_softmax,       &moe_gate_switch,        &moe_gate_gshard,
    &moe_gate_noisy,         &moe_gate_group_limited, &moe_gate_sigmoid,
    &moe_gate_expert_choice, &moe_gate_hash,          &moe_gate_sinkhorn,
};

#define GATES (sizeof gates / sizeof gates[0])

const moe_gate_ops_t *moe_gate_at(size_t index)
{
    return index < GATES ? gates[index] : NULL;
}

moe_status_t moe_gate_find(const char *name, const moe_gate_ops_t **out, moe_error_t *error)
{
    const char *names[GATES];
    char all[MOE_ERROR_TEXT / 2] = "";
    for (size_t i = 0; i < GATES; i++) {
        if (strcmp(gates[i]->name, name) == 0) {
            *out = gates[i];
            return MOE_OK;
        }
        names[i] = gates[i]->name;
        const size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *near = moe_nearest(name, names, GATES);
    return moe_fail(error, MOE_BAD_INPUT, "there is no gate '%.40s'%s%s%s; there are %s", name,
                    near == NULL ? "" : " (did you mean ", near == NULL ? "" : near,
                    near == NULL ? "" : "?)", all);
}

const char *moe_gate_name(const moe_gate_ops_t *gate)
{
    return gate->name;
}

const char *moe_gate_summary(const moe_gate_ops_t *gate)
{
    return gate->summary;
}
