/* The ground floor: parsing of sizes and times, memory, files, environment, topology.
 * Every other room may include this one; it includes none of them. */
#ifndef MOE_SYSTEM_H
#define MOE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parsing. `what` names the option or the place in a file for the message. Every function
 * refuses empty text, trailing text, NaN, infinities, and values outside [min, max], with
 * MOE_BAD_INPUT and a message that holds what, the text and the limits. ---- */

/* A whole number, optionally with K, M, G (1024) or KB, MB, GB (1000) behind it. */
moe_status_t moe_parse_size(const char *what, const char *text, size_t min, size_t max, size_t *out,
                            moe_error_t *error);
/* A real number. */
moe_status_t moe_parse_real(const char *what, const char *text, double min, double max, double *out,
                            moe_error_t *error);
/* A time with unit us, ms or s (s where none is given); the result is in seconds. */
moe_status_t moe_parse_time(const char *what, const char *text, double min, double max,
                            double *seconds, moe_error_t *error);
/* A rate of data: a number with B/s, KB/s, MB/s, GB/s, TB/s (1000), KiB/s, MiB/s, GiB/s (1024), or
 * with bit, kbit, mbit, gbit, tbit (1000, in any case, "/s" may follow), as tc writes them; bytes per
 * second where no unit is given. The result is in bytes per second. */
moe_status_t moe_parse_rate(const char *what, const char *text, double min, double max,
                            double *bytes_per_second, moe_error_t *error);

/* The candidate whose spelling is nearest to `name` (edit distance), NULL where none is near
 * (farther than a third of the longer word, or there are no candidates). */
const char *moe_nearest(const char *name, const char *const *candidates, size_t count);

/* ---- Memory ---- */

/* count * size bytes, zeroed; `what` names the thing in the message. A product past SIZE_MAX or a
 * refusal by the system is MOE_BAD_INPUT ("... does not fit memory"). count or size 0 gives a
 * valid pointer. Free with free(). */
moe_status_t moe_alloc(const char *what, size_t count, size_t size, void **out, moe_error_t *error);

/* Room for one more member of an array of `count`, which has room for *room and is the caller's: where
 * there is none, twice as many as before. The new members are not set. Errors as moe_alloc(); the array
 * is then as it was. */
moe_status_t moe_grow(const char *what, size_t count, size_t size, void **array, size_t *room,
                      moe_error_t *error);

/* Bytes that this process may still allocate on this host without swapping: MemAvailable, or what
 * the control group leaves, whichever is less. SIZE_MAX where the system does not tell. */
size_t moe_memory_available(void);

/* "1.50 GiB", "12.0 KiB", "17 B" into `text` (at least 16 bytes); returns `text`. */
char *moe_format_bytes(double bytes, char *text);

/* ---- Files ---- */

/* Reads a whole file of at most `limit` bytes; a NUL is put behind the text. *text is freed by the
 * caller. MOE_BAD_INPUT where it cannot be read or is longer. */
moe_status_t moe_file_read(const char *path, size_t limit, char **text, size_t *size,
                           moe_error_t *error);

/* ---- Where this runs ---- */

#define MOE_NICS_MAX     32
#define MOE_NUMA_UNKNOWN SIZE_MAX

/* A network or OpenFabrics device. */
typedef struct moe_nic {
    char name[32]; /* "eth0", "mlx5_0" */
    bool fabric;   /* OpenFabrics */
    size_t
        numa_node; /* as the system numbers it; MOE_NUMA_UNKNOWN where it does not tell, or several
                       * are as near */
} moe_nic_t;

typedef struct moe_topology {
    bool known;      /* false: built without hwloc, or it failed; the rest is then 0 */
    size_t packages; /* sockets */
    size_t numa_nodes;
    size_t cores;
    size_t pus;                           /* hardware threads */
    size_t memory_bytes;                  /* of the host */
    size_t bound_pus;                     /* hardware threads that this process may run on */
    char cpu[96];                         /* the first package's own name; empty: it has none */
    size_t l1d_bytes, l2_bytes, l3_bytes; /* of one cache; 0: none, or of several sizes */
    size_t l3_caches;
    size_t nic_count; /* at most MOE_NICS_MAX: further ones are left out */
    moe_nic_t nics[MOE_NICS_MAX];
} moe_topology_t;

/* Reads the host's topology (hwloc). Never fails: see `known`. */
void moe_topology_read(moe_topology_t *out);

/* Draws the host as text: packages, their NUMA nodes with cores, hardware threads (as the system
 * numbers them), memory and caches, and GPUs and network devices where they hang. Each line begins with
 * `margin`. Nothing without hwloc. */
void moe_topology_draw(FILE *out, const char *margin);

/* Which of `count` PCI devices ("0000:1b:00.0") are near cores that this process is bound to: bit i is
 * set where the NUMA-local cores of device i (hwloc) and those of the process have some in common. No
 * bit is set where the process may run on every core of the host, for a device that is not found or
 * whose place the host does not tell, nor for devices past the 32nd. */
uint32_t moe_near_pci(const char pci[][16], size_t count);

/* This host's name into `name`, always terminated. */
void moe_hostname(char *name, size_t size);

/* Variables of the environment that steer MPI, NCCL, UCX, CUDA, BLAS threads or Slurm placement, and
 * no others (a record must not carry a user's secrets): calls visit(context, "NAME", "value") for
 * each, sorted by name. */
void moe_environment_visit(void (*visit)(void *context, const char *name, const char *value),
                           void *context);

#ifdef __cplusplus
}
#endif
#endif
