#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "moe/model.h"
#include "moe/system.h"

/* Names that a message proposes. */
#define NEAREST_PRESETS 3

/* Room for their names with ", " between them. */
#define PROPOSAL_TEXT (NEAREST_PRESETS * (MOE_MODEL_NAME + 2))

/* Takes the best candidate out of the list: a name that begins like the wrong one ("mixtral") goes
 * before a name that is spelt nearly like it. NULL where none is left that is near. */
static const char *take_nearest(const char *name, const char **candidates, size_t *count)
{
    const char *nearest = NULL;
    for (size_t i = 0; i < *count && nearest == NULL && *name != '\0'; i++) {
        if (strncasecmp(candidates[i], name, strlen(name)) == 0)
            nearest = candidates[i];
    }
    if (nearest == NULL)
        nearest = moe_nearest(name, candidates, *count);
    for (size_t i = 0; i < *count && nearest != NULL; i++) {
        if (candidates[i] == nearest) {
            memmove(&candidates[i], &candidates[i + 1], (*count - i - 1) * sizeof *candidates);
            (*count)--;
            break;
        }
    }
    return nearest;
}

static moe_status_t refuse_name(const char *name, moe_error_t *error)
{
    size_t count = moe_model_count();
    void *memory = NULL;
    const moe_status_t status =
        moe_alloc("names of presets", count, sizeof(const char *), &memory, error);
    if (status != MOE_OK)
        return status;
    const char **candidates = memory;
    for (size_t i = 0; i < count; i++)
        candidates[i] = moe_model_at(i)->name;

    char proposal[PROPOSAL_TEXT] = "";
    size_t length = 0;
    for (size_t i = 0; i < NEAREST_PRESETS; i++) {
        const char *nearest = take_nearest(name, candidates, &count);
        if (nearest == NULL)
            break;
        length += (size_t)snprintf(proposal + length, sizeof proposal - length, "%s%s",
                                   i == 0 ? "" : ", ", nearest);
    }
    free(candidates);
    return moe_fail(
        error, MOE_BAD_INPUT, "--model %.*s: no such preset;%s%s%s `moe-a2a models` lists all",
        MOE_MODEL_NAME, name, length > 0 ? " nearest: " : "", proposal, length > 0 ? ";" : "");
}

moe_status_t moe_model_find(const char *name, moe_model_t *out, moe_error_t *error)
{
    for (size_t i = 0; i < moe_model_count(); i++) {
        if (strcmp(moe_model_at(i)->name, name) == 0) {
            *out = *moe_model_at(i);
            return MOE_OK;
        }
    }
    return refuse_name(name, error);
}
