#include "style.h"

#include <string.h>

#include "moe/system.h"

static const moe_style_ops_t *const styles[] = {
    &moe_style_padded,
    &moe_style_padded_max,
    &moe_style_exact,
};
enum { STYLES = sizeof styles / sizeof styles[0] };

size_t moe_style_count(void)
{
    return STYLES;
}

const moe_style_ops_t *moe_style_at(size_t index)
{
    return index < STYLES ? styles[index] : NULL;
}

moe_status_t moe_style_find(const char *name, const moe_style_ops_t **out, moe_error_t *error)
{
    const char *names[STYLES];
    char list[256] = "";
    for (size_t i = 0; i < STYLES; i++) {
        if (strcmp(name, styles[i]->name) == 0) {
            *out = styles[i];
            return MOE_OK;
        }
        names[i] = styles[i]->name;
        strncat(list, i == 0 ? "" : ", ", sizeof list - strlen(list) - 1);
        strncat(list, names[i], sizeof list - strlen(list) - 1);
    }
    const char *nearest = moe_nearest(name, names, STYLES);
    return moe_fail(error, MOE_BAD_INPUT, "no style \"%s\"%s%s%s; there are: %s", name,
                    nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                    nearest != NULL ? "\"?" : "", list);
}
