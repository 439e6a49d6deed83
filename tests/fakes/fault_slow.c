/* Makes messages of rows between chosen ranks slow, under MPI's profiling interface: the program is the one
 * that users run. Preloaded by tests/program/pairs.sh. Steered by the environment:
 *
 *   MOE_SLOW_MS    every message takes so many milliseconds more; default 0
 *   MOE_SLOW_MORE  "FROM TO MS", several separated by commas: messages from rank FROM to rank TO take MS
 *                  more instead; * is any rank
 *
 * Rows are told from control data by their datatype, which is no predefined one, and from signals by their size. */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEAST_BYTES 1024

static bool is_rows(MPI_Datatype type, int count)
{
    int integers, addresses, types, combiner = MPI_COMBINER_NAMED, size = 0;
    PMPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
    PMPI_Type_size(type, &size);
    return combiner != MPI_COMBINER_NAMED && (long)size * count >= LEAST_BYTES;
}

static bool matches(const char *word, int rank)
{
    return strcmp(word, "*") == 0 || atoi(word) == rank;
}

static double delay_of(int from, int to)
{
    const char *all = getenv("MOE_SLOW_MS"), *more = getenv("MOE_SLOW_MORE");
    double found = all != NULL ? atof(all) : 0;
    while (more != NULL && *more != '\0') {
        char sender[8], receiver[8];
        double ms;
        if (sscanf(more, "%7s %7s %lf", sender, receiver, &ms) == 3 && matches(sender, from) &&
            matches(receiver, to) && ms > found) {
            found = ms;
        }
        more += strcspn(more, ",");
        more += *more == ',';
    }
    return found;
}

int MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    int from;
    PMPI_Comm_rank(comm, &from);
    if (is_rows(type, count)) {
        const double ms = delay_of(from, to);
        const struct timespec time = {.tv_sec = (time_t)(ms / 1e3),
                                      .tv_nsec = (long)((ms - 1e3 * (long)(ms / 1e3)) * 1e6)};
        nanosleep(&time, NULL);
    }
    return PMPI_Isend(buffer, count, type, to, tag, comm, request);
}
