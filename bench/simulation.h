/* What is printed and recorded of a simulated network (moe/simulated.h). */
#ifndef BENCH_SIMULATION_H
#define BENCH_SIMULATION_H

#include <jansson.h>
#include <stdio.h>

#include "moe/simulated.h"

/* Both do nothing where nothing is simulated. */
void simulation_print(FILE *out);
void simulation_record(json_t *run);

#endif
