/* Routing patterns of TensorRT-LLM's MoE benchmark (--routing_pattern_file): ep_size P, experts_per_rank L,
 * slot_dispatch_matrix[P][P], whose rows sum to a rank's tokens times top-k, and expert_histogram[P][L]. */
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "moe/system.h"
#include "pull.h"

#define MATRIX    "slot_dispatch_matrix"
#define HISTOGRAM "expert_histogram"

typedef struct reader {
    int64_t ranks, local; /* as stated; 0: not */
    moe_pull_table_t matrix, histogram;
} reader_t;

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    return moe_head_letter(head, size) == '{' && (moe_head_holds(head, size, "\"" MATRIX "\"") ||
                                                  moe_head_holds(head, size, "\"" HISTOGRAM "\""));
}

static moe_status_t read_table(moe_input_t *input, const char *key, moe_pull_table_t *table)
{
    const double most = (double)((uint64_t)1 << 53);
    if (table->value != NULL)
        return moe_input_refuse(input, "a second \"%s\"", key);
    const moe_status_t status = moe_pull_table(input, key, 2, table);
    if (status != MOE_OK)
        return status;
    for (size_t i = 0; i < table->count; i++) {
        if (!(table->value[i] <= most) || table->value[i] != (double)(uint64_t)table->value[i])
            return moe_input_refuse(input, "%s: %g in row %zu, column %zu is no count", key,
                                    table->value[i], i / table->length[table->levels - 1],
                                    i % table->length[table->levels - 1]);
    }
    return table->levels == 2 ? MOE_OK : moe_input_refuse(input, "%s: rows must come", key);
}

static moe_status_t read_fields(moe_input_t *input, reader_t *r)
{
    char key[MOE_PULL_KEY];
    bool more = true;
    moe_status_t status = moe_pull_open(input, '{', "the pattern");
    for (size_t member = 0; status == MOE_OK; member++) {
        status = moe_pull_next(input, member, '}', &more);
        if (status != MOE_OK || !more)
            break;
        status = moe_pull_key(input, key);
        if (status != MOE_OK)
            break;
        if (strcmp(key, MATRIX) == 0)
            status = read_table(input, key, &r->matrix);
        else if (strcmp(key, HISTOGRAM) == 0)
            status = read_table(input, key, &r->histogram);
        else if (strcmp(key, "ep_size") == 0)
            status = moe_pull_whole(input, key, 1, (int64_t)MOE_TRACE_MAX_RANKS, &r->ranks);
        else if (strcmp(key, "experts_per_rank") == 0)
            status = moe_pull_whole(input, key, 1, MOE_TRACE_MAX_EXPERTS, &r->local);
        else
            status = moe_pull_skip(input);
    }
    return status == MOE_OK ? moe_pull_end(input) : status;
}

/* What arrives on a rank is spread over its experts. */
static moe_status_t check_sums(moe_input_t *input, const reader_t *r)
{
    const size_t ranks = r->matrix.length[0], local = r->histogram.length[1];
    for (size_t to = 0; to < ranks; to++) {
        double arrives = 0, spread = 0;
        for (size_t from = 0; from < ranks; from++)
            arrives += r->matrix.value[from * ranks + to];
        for (size_t e = 0; e < local; e++)
            spread += r->histogram.value[to * local + e];
        if (arrives != spread)
            return moe_input_refuse(
                input, "column %zu of " MATRIX " sums to %.0f, row %zu of " HISTOGRAM " to %.0f",
                to, arrives, to, spread);
    }
    return MOE_OK;
}

static moe_status_t check(moe_input_t *input, const reader_t *r)
{
    const moe_pull_table_t *m = &r->matrix, *h = &r->histogram;
    if (m->value == NULL || h->value == NULL)
        return moe_input_refuse(input,
                                "the object has no \"%s\": both " MATRIX " and " HISTOGRAM
                                " must be in the file",
                                m->value == NULL ? MATRIX : HISTOGRAM);
    if (m->length[0] != m->length[1] || m->length[0] != h->length[0] ||
        (r->ranks > 0 && (size_t)r->ranks != m->length[0]))
        return moe_input_refuse(input,
                                MATRIX " has %zu rows of %zu, " HISTOGRAM
                                       " %zu rows, ep_size is %lld: they must agree",
                                m->length[0], m->length[1], h->length[0], (long long)r->ranks);
    if (r->local > 0 && (size_t)r->local != h->length[1])
        return moe_input_refuse(input,
                                "rows of " HISTOGRAM " have %zu experts, experts_per_rank is "
                                "%lld",
                                h->length[1], (long long)r->local);
    return check_sums(input, r);
}

static moe_status_t hand_over(moe_input_t *input, reader_t *r, moe_trace_t *out)
{
    void *sent = NULL;
    const moe_status_t status =
        moe_alloc("a matrix of selections", r->matrix.count, sizeof(size_t), &sent, input->error);
    if (status != MOE_OK)
        return input->status = status;
    out->sent = sent;
    for (size_t i = 0; i < r->matrix.count; i++)
        out->sent[i] = (size_t)r->matrix.value[i];
    out->ranks = r->matrix.length[0];
    out->has_ranks = true;
    out->experts_known = true;
    double *value = r->histogram.value;
    r->histogram.value = NULL;
    return moe_take_counts(input, value, 1, 1, r->histogram.count, out);
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    reader_t r = {0};
    (void)wanted;
    moe_status_t status = read_fields(input, &r);
    if (status == MOE_OK)
        status = check(input, &r);
    if (status == MOE_OK)
        status = hand_over(input, &r, out);
    free(r.matrix.value);
    free(r.histogram.value);
    return status;
}

const moe_trace_format_t moe_trace_trtllm = {
    .name = "trtllm",
    .summary = "routing pattern of TensorRT-LLM, JSON: counts, and selections from rank to rank",
    .kinds = MOE_TRACE_COUNTS,
    .detect = detect,
    .read = read_trace,
};
