/* A block of more bytes than an int counts, from rank 0 to rank 1. */
#ifndef TESTS_HUGE_BLOCK_H
#define TESTS_HUGE_BLOCK_H

#include "moe/system.h"
#include "on_ranks.h"

#define HUGE_ROW  ((size_t)64 << 10)
#define HUGE_ROWS ((size_t)34000) /* 2.23 GB */
/* Both buffers, and as much again: an MPI library may hold a message in between. */
#define HUGE_NEEDS ((size_t)12 * 1000 * 1000 * 1000)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static inline const char *huge_is_left_out(moe_transport_t *t)
{
    if (t->size != 2)
        return "for 2 ranks";
    if (SANITIZED)
        return "too slow with a sanitizer";
    size_t available = moe_memory_available();
    if (t->ops->reduce_sizes(t, &available, 1, MOE_MIN, NULL) == MOE_OK && available < HUGE_NEEDS)
        return "less than 12 GB of memory free";
    return NULL;
}

/* Every row begins with its number; the bytes at both ends and around 2^31 are all known. */
static const size_t huge_window[][2] = {
    {8, 4096},
    {((size_t)1 << 31) - 4096, ((size_t)1 << 31) + 4096},
    {HUGE_ROWS * HUGE_ROW - 4096, HUGE_ROWS *HUGE_ROW},
};
#define HUGE_WINDOWS (sizeof huge_window / sizeof huge_window[0])

static inline unsigned char huge_byte(size_t at)
{
    return (unsigned char)(1 + at % 251);
}

static inline void huge_fill(unsigned char *rows)
{
    for (size_t w = 0; w < HUGE_WINDOWS; w++) {
        for (size_t at = huge_window[w][0]; at < huge_window[w][1]; at++)
            rows[at] = huge_byte(at);
    }
    for (uint64_t row = 0; row < HUGE_ROWS; row++)
        memcpy(rows + row * HUGE_ROW, &row, sizeof row);
}

static bool huge_arrived(moe_transport_t *t, const unsigned char *rows, char *text)
{
    for (uint64_t row = 0; row < HUGE_ROWS; row++)
        EXPECT(memcmp(rows + row * HUGE_ROW, &row, sizeof row) == 0);
    for (size_t w = 0; w < HUGE_WINDOWS; w++) {
        for (size_t at = huge_window[w][0]; at < huge_window[w][1]; at++)
            EXPECT(at % HUGE_ROW < sizeof(uint64_t) || rows[at] == huge_byte(at));
    }
    return true;
}

/* Rank 0 sends, rank 1 receives. */
static bool huge_run(moe_transport_t *t, const moe_algorithm_ops_t *algorithm,
                     unsigned char *memory, char *text)
{
    const size_t some[2] = {t->rank == 0 ? 0 : HUGE_ROWS, t->rank == 0 ? HUGE_ROWS : 0};
    const size_t none[2] = {0, 0}, first[2] = {0, 0};
    moe_device_t device = case_device();
    moe_alltoallv_t x = {.send = t->rank == 0 ? memory : NULL,
                         .send_rows = t->rank == 0 ? some : none,
                         .send_first = first,
                         .recv = t->rank == 0 ? NULL : memory,
                         .recv_rows = t->rank == 0 ? none : some,
                         .recv_first = first};
    moe_error_t error = {.status = MOE_OK};
    moe_status_t status = t->ops->row_type(t, HUGE_ROW, &x.row, &error);
    if (status == MOE_OK)
        status = case_prepare(algorithm, t, &device, &x, &error);
    if (status == MOE_OK && algorithm->schedule != NULL)
        status = algorithm->schedule(t, &x, &error);
    if (status == MOE_OK)
        status = algorithm->run(t, &device, &x, &error);
    case_release(algorithm, t, &device, &x);
    if (status != MOE_OK)
        snprintf(text, CASE_TEXT, "rank %zu: %s: %.150s", t->rank, algorithm->name, error.text);
    return status == MOE_OK && (t->rank == 0 || huge_arrived(t, memory, text));
}

static bool huge_block(moe_transport_t *t, char *text)
{
    bool right = true;
    unsigned char *memory = calloc(HUGE_ROWS, HUGE_ROW);
    EXPECT(memory != NULL);
    if (t->rank == 0)
        huge_fill(memory);
    /* The collective, and messages: the other algorithms send the same one. */
    static const char *const names[] = {"native", "linear"};
    for (size_t i = 0; right && i < 2; i++) {
        const moe_algorithm_ops_t *algorithm;
        if (t->rank == 1)
            memset(memory, 0, HUGE_ROWS * HUGE_ROW);
        right = moe_algorithm_find(names[i], &algorithm, NULL) == MOE_OK &&
                huge_run(t, algorithm, memory, text);
        right = on_all_ranks(t, right, text);
    }
    free(memory);
    return right;
}

#endif
