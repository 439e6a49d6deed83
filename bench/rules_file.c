#include "rules_file.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/system.h"

#define FOLDER     "patterns/acceptance"
#define ENDING     ".json"
#define MOST_NAMES 64

/* Beside the program, where it was built (build/moe-a2a) or installed (bin/moe-a2a, wherever the
 * prefix was moved to), then where this build was to be installed. */
static const char *const beside[] = {"../" FOLDER, "../../" FOLDER, "../share/moe-a2a/" FOLDER};

static bool folder_at(size_t number, char *path, size_t size)
{
    char program[PATH_MAX];
    if (number == sizeof beside / sizeof *beside) {
        snprintf(path, size, "%s/" FOLDER, MOE_DATA_DIR);
        return true;
    }
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) {
        return false;
    }
    program[length] = '\0';
    *(strrchr(program, '/') + 1) = '\0';
    return snprintf(path, size, "%s%s", program, beside[number]) < (int)size;
}
#define FOLDERS (sizeof beside / sizeof *beside + 1)

/* Adds the names of one folder; they are freed by the caller. */
static size_t list_folder(const char *folder, char **names, size_t count)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    while (directory != NULL && count < MOST_NAMES && (entry = readdir(directory)) != NULL) {
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

static moe_status_t refuse(const char *rules, moe_error_t *error)
{
    char *names[MOST_NAMES], list[MOE_ERROR_TEXT / 2] = "", folder[PATH_MAX];
    size_t count = 0, used = 0;
    for (size_t f = 0; f < FOLDERS && count == 0; f++) {
        count = folder_at(f, folder, sizeof folder) ? list_folder(folder, names, count) : count;
    }
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count && used < sizeof list; i++) {
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *nearest = moe_nearest(rules, (const char *const *)names, count);
    const moe_status_t status = moe_fail(
        error, MOE_BAD_INPUT, "--rules: no file '%.300s', and no rules of that name%s%s%s%s", rules,
        nearest != NULL ? "; nearest: " : "", nearest != NULL ? nearest : "",
        count > 0 ? "; there are: " : "", list);
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    return status;
}

moe_status_t rules_file_find(const char *rules, char *path, size_t size, moe_error_t *error)
{
    char folder[PATH_MAX], found[PATH_MAX + NAME_MAX];
    if (access(rules, F_OK) == 0 && (size_t)snprintf(path, size, "%s", rules) < size) {
        return MOE_OK;
    }
    for (size_t f = 0; f < FOLDERS && strchr(rules, '/') == NULL; f++) {
        if (folder_at(f, folder, sizeof folder) &&
            (size_t)snprintf(found, sizeof found, "%s/%s" ENDING, folder, rules) < sizeof found &&
            size >= PATH_MAX && realpath(found, path) != NULL) {
            return MOE_OK;
        }
    }
    return refuse(rules, error);
}
