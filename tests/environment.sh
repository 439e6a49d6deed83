# What tests and benches share: where the build is and how ranks are started. Sourced by bash.
BUILD=${BUILD:-build} MPIRUN=${MPIRUN:-} SANITIZE=${SANITIZE:-}
export BUILD MPIRUN SANITIZE
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# More ranks than cores, as root, without binding: what each MPI wants to hear.
mpi_flags=()
if [ -n "$MPIRUN" ] && "$MPIRUN" --version 2>/dev/null | grep -q 'Open MPI\|OpenRTE'; then
    mpi_flags=(--oversubscribe --bind-to none)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1
fi
# Open MPI and hwloc keep what they allocate until the process ends; leaks of ours are found by the unit tests.
if [ -n "$SANITIZE" ]; then
    # MPI unloads its components before leaks are looked for: only full stacks still name their libraries.
    export ASAN_OPTIONS="fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
fi

mpi_run() { # ranks program arguments...
    local ranks=$1; shift
    timeout -k 5 "${MOE_TEST_SECONDS:-300}" "$MPIRUN" "${mpi_flags[@]}" -np "$ranks" "$@"
}
