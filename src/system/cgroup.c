/* The memory that control groups leave to this process. Which group it is in stands in
 * /proc/self/cgroup, where the groups are mounted in /proc/self/mountinfo (cgroups(7), proc(5));
 * both are there without /sys, which then only means that no limit is found. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "moe/system.h"

/* Names of the files of one version. */
typedef struct cgroup_version {
    const char *fstype;     /* in mountinfo */
    const char *controller; /* among the mount's options and in /proc/self/cgroup; "": version 2 */
    const char *limit, *usage;
    const char *inactive_file, *active_file; /* in memory.stat */
} cgroup_version_t;

static const cgroup_version_t versions[] = {
    {
        .fstype = "cgroup2",
        .controller = "",
        .limit = "memory.max",
        .usage = "memory.current",
        .inactive_file = "inactive_file",
        .active_file = "active_file",
    },
    {
        .fstype = "cgroup",
        .controller = "memory",
        .limit = "memory.limit_in_bytes",
        .usage = "memory.usage_in_bytes",
        .inactive_file = "total_inactive_file",
        .active_file = "total_active_file",
    },
};

static char *read_text(const char *path)
{
    enum { TEXT_LIMIT = 4 << 20 };
    char *text = NULL;
    size_t size = 0;
    return moe_file_read(path, TEXT_LIMIT, &text, &size, NULL) == MOE_OK ? text : NULL;
}

/* Is `word` one of the words of a list that commas separate? */
static bool lists(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list;; at++) {
        const size_t item = strcspn(at, ",");
        if (item == length && strncmp(at, word, length) == 0)
            return true;
        at += item;
        if (*at == '\0')
            return false;
    }
}

/* The group of this process, from lines "id:controllers:path". */
static bool find_group(char *cgroups, const cgroup_version_t *version, char *group, size_t size)
{
    char *rest = NULL;
    for (char *line = strtok_r(cgroups, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL)
            continue;
        *path = '\0';
        if (lists(controllers + 1, version->controller))
            return snprintf(group, size, "%s", path + 1) < (int)size;
    }
    return false;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void decode_octal(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        unsigned code = 0;
        if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1 && code < 256) {
            *to = (char)code;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Where that version is mounted and which group is the root of the mount, from lines
 * "id parent device root mount-point options [tags] - fstype source super-options". */
static bool find_mount(char *mounts, const cgroup_version_t *version, char **top, char **point)
{
    char *rest = NULL;
    for (char *line = strtok_r(mounts, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *tail = strstr(line, " - "), *field = NULL, *tail_field = NULL;
        if (tail == NULL)
            continue;
        *tail = '\0';
        const char *fstype = strtok_r(tail + 3, " ", &tail_field);
        strtok_r(NULL, " ", &tail_field);
        const char *options = strtok_r(NULL, " ", &tail_field);
        if (options == NULL || strcmp(fstype, version->fstype) != 0 ||
            (version->controller[0] != '\0' && !lists(options, version->controller)))
            continue;
        strtok_r(line, " ", &field);
        strtok_r(NULL, " ", &field);
        strtok_r(NULL, " ", &field);
        *top = strtok_r(NULL, " ", &field);
        *point = strtok_r(NULL, " ", &field);
        if (*point == NULL)
            continue;
        decode_octal(*top);
        decode_octal(*point);
        return true;
    }
    return false;
}

/* The group's path below the mount; "" (the mount itself) where the mount does not show it, as in a
 * container that sees its own group only. */
static const char *below_mount(const char *group, const char *top)
{
    const size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
    const bool shown = strncmp(group, top, length) == 0 && group[length] == '/';
    if (!shown || strncmp(group, "/..", 3) == 0 || strcmp(group + length, "/") == 0)
        return "";
    return group + length;
}

static size_t read_number(const char *directory, const char *name)
{
    char path[MOE_SYSTEM_PATH], *end = NULL;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return SIZE_MAX;
    char *text = read_text(path);
    const unsigned long long number = text == NULL ? 0 : strtoull(text, &end, 10);
    const bool is_number = text != NULL && end != text; /* "max": no limit */
    free(text);
    return is_number && number < SIZE_MAX ? (size_t)number : SIZE_MAX;
}

/* Pages of files that were read: charged to the group, but given back when memory is asked for.
 * Without them a group that has just compiled something would look full. */
static size_t file_cache(const char *directory, const cgroup_version_t *version)
{
    char path[MOE_SYSTEM_PATH];
    if (snprintf(path, sizeof path, "%s/memory.stat", directory) >= (int)sizeof path)
        return 0;
    char *text = read_text(path);
    if (text == NULL)
        return 0;
    const size_t inactive = moe_memory_field(text, version->inactive_file);
    const size_t active = moe_memory_field(text, version->active_file);
    free(text);
    return (inactive == SIZE_MAX ? 0 : inactive) + (active == SIZE_MAX ? 0 : active);
}

static size_t level_left(const char *directory, const cgroup_version_t *version)
{
    const size_t limit = read_number(directory, version->limit);
    const size_t usage = read_number(directory, version->usage);
    if (limit == SIZE_MAX || usage == SIZE_MAX)
        return SIZE_MAX;
    const size_t cache = file_cache(directory, version);
    const size_t held = usage > cache ? usage - cache : 0;
    return limit > held ? limit - held : 0;
}

/* Every level has a limit of its own: the least counts. `directory` is changed. */
static size_t least_up_to_mount(char *directory, size_t mount_length,
                                const cgroup_version_t *version)
{
    size_t least = SIZE_MAX;
    for (;;) {
        const size_t left = level_left(directory, version);
        least = left < least ? left : least;
        char *slash = strrchr(directory, '/');
        if (slash == NULL || slash < directory + mount_length)
            return least;
        *slash = '\0';
    }
}

static size_t version_left(const char *root, const char *cgroups, const char *mounts,
                           const cgroup_version_t *version)
{
    size_t left = SIZE_MAX;
    char group[MOE_SYSTEM_PATH], directory[MOE_SYSTEM_PATH], *top = NULL, *point = NULL;
    char *cgroups_copy = strdup(cgroups), *mounts_copy = strdup(mounts);
    if (cgroups_copy == NULL || mounts_copy == NULL ||
        !find_group(cgroups_copy, version, group, sizeof group) ||
        !find_mount(mounts_copy, version, &top, &point))
        goto release;
    const int mount_length = snprintf(directory, sizeof directory, "%s%s", root, point);
    const int length =
        snprintf(directory, sizeof directory, "%s%s%s", root, point, below_mount(group, top));
    if (length < (int)sizeof directory)
        left = least_up_to_mount(directory, (size_t)mount_length, version);
release:
    free(mounts_copy);
    free(cgroups_copy);
    return left;
}

size_t moe_memory_cgroup_left(const char *root)
{
    char path[MOE_SYSTEM_PATH];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    char *cgroups = read_text(path);
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    char *mounts = read_text(path);
    size_t least = SIZE_MAX;
    for (size_t i = 0; cgroups && mounts && i < sizeof versions / sizeof versions[0]; i++) {
        const size_t left = version_left(root, cgroups, mounts, &versions[i]);
        least = left < least ? left : least;
    }
    free(mounts);
    free(cgroups);
    return least;
}
