/* Reads records (JSON Lines) for the test scripts:
 *     json_query FILE [FIELD=VALUE ...] [-- FIELD ...]
 * prints the fields of every record that holds the values, one record a line, blanks between fields;
 * an absent field is "-". Fields of objects and lists are reached by dots: bytes.wire, command.0. "@"
 * stands for the names of the record's own fields. Ends with 1 where a line is not one JSON object,
 * with 3 where no record was found. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_PATH 128
#define LONGEST_TEXT 64

enum { FOUND = 0, NOT_JSON = 1, USAGE = 2, NONE = 3 };

static const json_t *at_path(const json_t *record, const char *path)
{
    char copy[LONGEST_PATH], *rest = copy;
    snprintf(copy, sizeof copy, "%s", path);
    while (record != NULL && rest != NULL) {
        const char *name = strsep(&rest, ".");
        record = json_is_array(record) ? json_array_get(record, strtoul(name, NULL, 10))
                                       : json_object_get(record, name);
    }
    return record;
}

/* Objects and lists print as the number of their members. */
static void print_value(FILE *out, const json_t *value)
{
    if (value == NULL) {
        fputs("-", out);
    } else if (json_is_string(value)) {
        fputs(json_string_value(value), out);
    } else if (json_is_integer(value)) {
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        fprintf(out, "%.12g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        fputs(json_is_true(value) ? "true" : "false", out);
    } else if (json_is_null(value)) {
        fputs("null", out);
    } else {
        fprintf(out, "%zu",
                json_is_array(value) ? json_array_size(value) : json_object_size(value));
    }
}

static void print_names(json_t *record)
{
    const char *name, *blank = "";
    json_t *value;
    json_object_foreach(record, name, value)
    {
        printf("%s%s", blank, name);
        blank = " ";
    }
}

static int holds(const json_t *record, const char *condition)
{
    char path[LONGEST_PATH], got[LONGEST_TEXT] = "";
    const char *equals = strchr(condition, '=');
    snprintf(path, sizeof path, "%.*s", (int)(equals - condition), condition);
    FILE *text = fmemopen(got, sizeof got, "w");
    if (text == NULL) {
        return 0;
    }
    print_value(text, at_path(record, path));
    fclose(text);
    return strcmp(got, equals + 1) == 0;
}

static void print_record(json_t *record, char **fields, int count)
{
    for (int i = 0; i < count; i++) {
        fputs(i > 0 ? " " : "", stdout);
        if (strcmp(fields[i], "@") == 0) {
            print_names(record);
        } else {
            print_value(stdout, at_path(record, fields[i]));
        }
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    int first_field = 2, found = 0;
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (file == NULL) {
        fprintf(stderr, "json_query: no file %s\n", argc > 1 ? argv[1] : "named");
        return USAGE;
    }
    while (first_field < argc && strcmp(argv[first_field], "--") != 0) {
        if (strchr(argv[first_field++], '=') == NULL) {
            fprintf(stderr, "json_query: %s: no condition\n", argv[first_field - 1]);
            return USAGE;
        }
    }
    char *line = NULL;
    size_t size = 0;
    for (long number = 1; getline(&line, &size, file) > 0; number++) {
        json_error_t error;
        json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(record)) {
            fprintf(stderr, "json_query: line %ld: %s\n", number,
                    record == NULL ? error.text : "not an object");
            return NOT_JSON;
        }
        int wanted = 1;
        for (int i = 2; i < first_field; i++) {
            wanted = wanted && holds(record, argv[i]);
        }
        if (wanted) {
            print_record(record, argv + first_field + 1, argc - first_field - 1);
            found++;
        }
        json_decref(record);
    }
    free(line);
    fclose(file);
    return found > 0 ? FOUND : NONE;
}
