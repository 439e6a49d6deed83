#include "ready_file.h"

#include "data_path.h"
#include "moe/system.h"
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENDING ".json"

const ready_kind_t ready_rules = {.folder = "acceptance", .option = "--rules", .what = "rules"};
const ready_kind_t ready_workloads = {
    .folder = "workloads", .option = "--workload", .what = "workload"};

const ready_kind_t ready_machines = {
    .folder = "machines", .option = "--machine", .what = "machine"};
const ready_kind_t ready_figures = {
    .folder = "reproduce", .option = "reproduce", .what = "published figure"};

static bool folder_of(const ready_kind_t *kind, char *path, size_t size)
{
    char below[64];
    snprintf(below, sizeof below, "patterns/%s", kind->folder);
    return data_path(below, path, size);
}

/* The names in one folder; they are freed by the caller. */
static size_t list_folder(const char *folder, char **names)
{
    size_t count = 0;
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    while (directory != NULL && count < READY_NAMES && (entry = readdir(directory)) != NULL) {
        const size_t length = strlen(entry->d_name), ending = strlen(ENDING);
        if (length > ending && strcmp(entry->d_name + length - ending, ENDING) == 0) {
            names[count] = strndup(entry->d_name, length - ending);
            count += names[count] != NULL;
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t ready_file_names(const ready_kind_t *kind, char *names[READY_NAMES])
{
    char folder[PATH_MAX];
    const size_t count = folder_of(kind, folder, sizeof folder) ? list_folder(folder, names) : 0;
    qsort(names, count, sizeof *names, by_name);
    return count;
}

static moe_status_t refuse(const ready_kind_t *kind, const char *name, moe_error_t *error)
{
    char *names[READY_NAMES], list[MOE_ERROR_TEXT / 2] = "";
    size_t used = 0;
    const size_t count = ready_file_names(kind, names);
    for (size_t i = 0; i < count && used < sizeof list; i++) {
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *nearest = moe_nearest(name, (const char *const *)names, count);
    const moe_status_t status =
        moe_fail(error, MOE_BAD_INPUT, "%s: no file '%.300s', and no %s of that name%s%s%s%s",
                 kind->option, name, kind->what, nearest != NULL ? "; nearest: " : "",
                 nearest != NULL ? nearest : "", count > 0 ? "; there are: " : "", list);
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    return status;
}

static bool is_file(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

moe_status_t ready_file_find(const ready_kind_t *kind, const char *name, char *path, size_t size,
                             moe_error_t *error)
{
    char folder[PATH_MAX], found[PATH_MAX + NAME_MAX];
    if (is_file(name) && (size_t)snprintf(path, size, "%s", name) < size) {
        return MOE_OK;
    }
    if (strchr(name, '/') == NULL && folder_of(kind, folder, sizeof folder) &&
        (size_t)snprintf(found, sizeof found, "%s/%s" ENDING, folder, name) < sizeof found &&
        size >= PATH_MAX && realpath(found, path) != NULL) {
        return MOE_OK;
    }
    return refuse(kind, name, error);
}
