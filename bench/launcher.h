/* What the environment tells of the launcher that started this process, before there is any MPI. */
#ifndef BENCH_LAUNCHER_H
#define BENCH_LAUNCHER_H

#include <stdbool.h>

/* Started by mpirun, srun or the like. */
bool launcher_present(void);
/* How many processes it started, and which this one is; 1 and 0 where it does not tell. */
long launcher_ranks(void);
long launcher_rank(void);

#endif
