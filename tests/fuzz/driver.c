/* Without libFuzzer: every file as it is, and then so many inputs made of them by chance, the same ones on every
 * run. An input that ends the process is left in the file that --keep names.
 *
 *   fuzz --list
 *   fuzz TARGET RUNS KEEP FILE...      prints "TARGET: RUNS runs" at the end */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define MOST_BYTES   ((size_t)1 << 14)
#define MOST_FILES   512
#define MOST_CHANGES 6

typedef struct input {
    uint8_t *bytes;
    size_t size;
} input_t;

/* Of Marsaglia, Xorshift RNGs, 2003. */
static uint64_t state = 88172645463325252u;

static size_t below(size_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bound == 0 ? 0 : (size_t)(state % bound);
}

/* Words that readers look for, and numbers at their limits. */
static const char *const words[] = {"0",
                                    "-1",
                                    "1e309",
                                    "65535",
                                    "65534",
                                    "4294967296",
                                    "18446744073709551616",
                                    "0.5",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    ":",
                                    "\"",
                                    "\n",
                                    "null",
                                    "[[[[",
                                    "\\u0000",
                                    "nan",
                                    "-0",
                                    "<i8",
                                    ">f4",
                                    "(1,)",
                                    "'shape'",
                                    "0x7fff",
                                    "\"layer\":",
                                    "\"top_indices\":[[",
                                    "#",
                                    "=",
                                    "--",
                                    "--skew\ntrace:",
                                    "=1:2:3",
                                    "counts={",
                                    "[collective]\n",
                                    "\"rank\"",
                                    "\x1f\x8b",
                                    "1K",
                                    "2147483648",
                                    "--import\n",
                                    "%s%n",
                                    "\xff\xff\xff\xff"};

static void insert(input_t *input, size_t at, const void *bytes, size_t size)
{
    if (input->size + size > MOST_BYTES)
        return;
    memmove(input->bytes + at + size, input->bytes + at, input->size - at);
    memcpy(input->bytes + at, bytes, size);
    input->size += size;
}

static void remove_some(input_t *input)
{
    const size_t at = below(input->size), most = input->size - at;
    const size_t size = 1 + below(most < 40 ? most : 40);
    if (at + size > input->size)
        return;
    memmove(input->bytes + at, input->bytes + at + size, input->size - at - size);
    input->size -= size;
}

static void change(input_t *input, const input_t *other)
{
    const char *word = words[below(sizeof words / sizeof *words)];
    const size_t at = below(input->size + 1);
    switch (below(7)) {
    case 0:
        if (at < input->size)
            input->bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (at < input->size)
            input->bytes[at] = (uint8_t)below(256);
        break;
    case 2:
        remove_some(input);
        break;
    case 3:
        insert(input, at, word, strlen(word));
        break;
    case 4: /* over what is there */
        for (size_t i = 0; word[i] != '\0' && at + i < input->size; i++)
            input->bytes[at + i] = (uint8_t)word[i];
        break;
    case 5: { /* a piece of another file */
        const size_t from = below(other->size + 1);
        const size_t size = below(other->size - from + 1);
        insert(input, at, other->bytes + from, size);
        break;
    }
    default:
        input->size = at;
    }
}

static void run(const fuzz_target_t *target, const input_t *input, int keep)
{
    if (pwrite(keep, input->bytes, input->size, 0) != (ssize_t)input->size ||
        ftruncate(keep, (off_t)input->size) != 0) {
        perror("the file that keeps an input");
        exit(2);
    }
    fuzz_one(target, input->bytes, input->size);
}

static input_t read_input(const char *path)
{
    input_t input = {.bytes = calloc(MOST_BYTES, 1)};
    FILE *file = fopen(path, "rb");
    if (file == NULL || input.bytes == NULL) {
        perror(path);
        exit(2);
    }
    input.size = fread(input.bytes, 1, MOST_BYTES, file);
    fclose(file);
    return input;
}

static int fuzz(const fuzz_target_t *target, size_t runs, const char *keep_path, char **paths,
                size_t count)
{
    static input_t files[MOST_FILES];
    input_t input = {.bytes = calloc(MOST_BYTES, 1)};
    const int keep = open(keep_path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    count = count < MOST_FILES ? count : MOST_FILES;
    for (size_t i = 0; i < count; i++) {
        files[i] = read_input(paths[i]);
        run(target, &files[i], keep);
    }
    for (size_t i = 0; i < runs; i++) {
        const input_t *from = &files[below(count)];
        input.size = from->size;
        memcpy(input.bytes, from->bytes, from->size);
        for (size_t changes = 1 + below(MOST_CHANGES); changes > 0; changes--)
            change(&input, &files[below(count)]);
        run(target, &input, keep);
    }
    for (size_t i = 0; i < count; i++)
        free(files[i].bytes);
    free(input.bytes);
    close(keep);
    remove(keep_path);
    printf("%s: %zu runs\n", target->name, runs + count);
    return 0;
}

int main(int argc, char **argv)
{
    const fuzz_target_t *target;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; (target = fuzz_target_at(i)) != NULL; i++)
            printf("%s\n", target->name);
        return 0;
    }
    target = argc > 4 ? fuzz_target_find(argv[1]) : NULL;
    if (target == NULL) {
        fprintf(stderr, "fuzz TARGET RUNS KEEP FILE..., or fuzz --list\n");
        return 2;
    }
    return fuzz(target, (size_t)strtoul(argv[2], NULL, 10), argv[3], argv + 4, (size_t)argc - 4);
}
