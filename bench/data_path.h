/* Where what comes with the program is: beside it where it was built, or installed. */
#ifndef BENCH_DATA_PATH_H
#define BENCH_DATA_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* The path of `below` ("plot/report.py") into path[size], size >= PATH_MAX; false where it is nowhere. */
bool data_path(const char *below, char *path, size_t size);
/* The path of the program itself; false where the system does not tell. */
bool program_path(char *path, size_t size);

#endif
