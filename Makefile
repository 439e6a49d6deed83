# moe-a2a: what the all-to-all of Mixture-of-Experts traffic costs on a machine.
#
#   make            build what this machine has the parts for        make run      set up, build, run the main job
#   make check      set up, build, run every test                    make bench    figures of speed, as ratios
#   make install PREFIX=/usr/local DESTDIR=                          make format, make lint
#   make fuzz       every reader of files, 100,000 times, under sanitizers (FUZZ_RUNS=, FUZZ_TARGETS=)
#   MPICC=mpicc.mpich  another MPI     SANITIZE=address,undefined    CI=true       warnings are errors
#   make pictures   those of the documentation, anew
#   make sim        for simulated networks (docs/simulation.md)
#   make check-gpu, make bench-gpu     tests and figures that need a GPU            CUDA_HOME=  without CUDA

VERSION = 0.1.0
PREFIX ?= /usr/local
BUILD ?= build
SANITIZE ?=
MPICC ?= $(shell command -v mpicc 2>/dev/null)
PKG_CONFIG ?= pkg-config
JOBS := $(shell nproc 2>/dev/null || echo 2)

# ---- What this machine has -------------------------------------------------------------------
have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
HAVE_MPI := $(if $(MPICC),$(shell command -v $(MPICC) 2>/dev/null))
# SimGrid's wrapper builds for simulated networks: without what real hosts have.
HAVE_SMPI := $(if $(filter smpicc,$(notdir $(MPICC))),$(HAVE_MPI))
HAVE_HWLOC := $(if $(HAVE_SMPI),,$(call have,hwloc))
HAVE_BLAS := $(if $(HAVE_SMPI),,$(or $(call have,openblas),$(call have,cblas)))
BLAS_PKG := $(if $(call have,openblas),openblas,cblas)
HAVE_JANSSON := $(call have,jansson)
HAVE_CMOCKA := $(call have,cmocka)
HAVE_ZLIB := $(call have,zlib)
# CUDA: CUDA_HOME, else where nvcc is, else the usual place; CUDA_HOME= leaves it out. NCCL lies beside it or in NCCL_HOME.
CUDA_HOME ?= $(or $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v nvcc 2>/dev/null))),$(patsubst %/bin/nvcc,%,$(wildcard /usr/local/cuda/bin/nvcc)))
HAVE_CUDA := $(if $(CUDA_HOME),$(and $(wildcard $(CUDA_HOME)/bin/nvcc),$(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h)))
CUDA_LIB := $(if $(HAVE_CUDA),$(firstword $(dir $(wildcard $(CUDA_HOME)/lib64/libcudart.so $(CUDA_HOME)/lib/libcudart.so))))
NCCL_HOME ?= $(if $(HAVE_CUDA),$(firstword $(patsubst %/include/nccl.h,%,$(wildcard $(CUDA_HOME)/include/nccl.h /usr/include/nccl.h))))
HAVE_NCCL := $(if $(and $(HAVE_CUDA),$(HAVE_MPI),$(NCCL_HOME)),$(wildcard $(NCCL_HOME)/include/nccl.h))
NCCL_LIB := $(if $(HAVE_NCCL),$(firstword $(dir $(wildcard $(NCCL_HOME)/lib64/libnccl.so $(NCCL_HOME)/lib/libnccl.so /usr/lib/x86_64-linux-gnu/libnccl.so /usr/lib/aarch64-linux-gnu/libnccl.so))))
HAVE_RANDOM123 := $(shell echo '\#include <Random123/philox.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)

COMPILER := $(if $(HAVE_MPI),$(MPICC),$(CC))
MPIRUN ?= $(if $(HAVE_MPI),$(subst mpicc,mpirun,$(notdir $(MPICC))))

CFLAGS ?= -O3 -g
WARNINGS = -Wall -Wextra -Wpedantic $(if $(CI),-Werror)
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DMOE_VERSION='"$(VERSION)"' -DMOE_DATA_DIR='"$(PREFIX)/share/moe-a2a"' \
    $(if $(HAVE_MPI),-DMOE_HAVE_MPI) $(if $(HAVE_SMPI),-DMOE_HAVE_SMPI) $(if $(HAVE_HWLOC),-DMOE_HAVE_HWLOC) $(if $(HAVE_BLAS),-DMOE_HAVE_BLAS) $(if $(HAVE_ZLIB),-DMOE_HAVE_ZLIB) \
    $(if $(HAVE_CUDA),-DMOE_HAVE_CUDA -isystem $(CUDA_HOME)/include) $(if $(HAVE_NCCL),-DMOE_HAVE_NCCL -isystem $(NCCL_HOME)/include)
PACKAGES = jansson $(if $(HAVE_ZLIB),zlib) $(if $(HAVE_HWLOC),hwloc) $(if $(HAVE_BLAS),$(BLAS_PKG))
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)
SANITIZERS = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)
COMPILE = $(COMPILER) -std=c11 $(WARNINGS) $(CPPFLAGS) $(PACKAGE_CFLAGS) $(CFLAGS) -pthread $(SANITIZERS)
LINK = $(COMPILER) $(CFLAGS) -pthread $(SANITIZERS) $(LDFLAGS)
# cuBLAS is opened when it is used: it would take every start of the program 0.4 s and 200 MB.
comma := ,
CUDA_LIBS = $(if $(HAVE_CUDA),-L$(CUDA_LIB) -lcudart -ldl -Wl$(comma)-rpath$(comma)$(CUDA_LIB)) $(if $(HAVE_NCCL),-L$(NCCL_LIB) -lnccl -Wl$(comma)-rpath$(comma)$(NCCL_LIB))
LIBS = $(PACKAGE_LIBS) $(CUDA_LIBS) -lm

# Kernels: for these GPUs, and for later ones by the driver. No C++ library is needed.
CUDA_ARCHS ?= 80 90 100
NVCC = $(CUDA_HOME)/bin/nvcc
NVCC_FLAGS = -std=c++17 -O3 -lineinfo $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
    -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS)) \
    -Iinclude -Xcompiler -Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-fPIC

# ---- What is built ---------------------------------------------------------------------------
LIBRARY_SOURCES = $(wildcard src/*/*.c)
KERNEL_SOURCES = $(if $(HAVE_CUDA),$(wildcard src/*/*.cu))
DRIVER_SOURCES = $(wildcard bench/*.c bench/*/*.c)
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
MPI_TESTS = $(if $(HAVE_MPI),$(patsubst tests/mpi/%.c,$(BUILD)/tests/mpi/%,$(wildcard tests/mpi/test_*.c)))
MPI_FAKES = $(if $(HAVE_MPI),$(patsubst tests/fakes/%.c,$(BUILD)/tests/fakes/%.so,$(wildcard tests/fakes/fault_*.c)))
BENCHES = $(filter-out $(if $(HAVE_MPI),,%bench_native),$(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/bench_*.c)))
object = $(patsubst %.c,$(BUILD)/obj/%.o,$(patsubst %.cu,$(BUILD)/obj/%.cu.o,$(1)))
LIBRARY = $(BUILD)/libmoe-a2a.a
PROGRAM = $(BUILD)/moe-a2a

# `make V=1` shows the commands.
QUIET = $(if $(V),,@echo '  $(1)' $(patsubst $(BUILD)/%,%,$@);)

# These set up what is missing, and are then done by a second make, NAME-set-up.
SET_UP := run check pictures bench check-gpu bench-gpu
.PHONY: all $(SET_UP) $(addsuffix -set-up,$(SET_UP)) sim fuzz setup install uninstall clean format lint tests headers parts FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: parts $(PROGRAM)

# Jansson and Random123 are needed by everything; the rest can be left out.
parts:
ifneq ($(HAVE_JANSSON)$(HAVE_RANDOM123),yesyes)
	@echo "moe-a2a needs $(if $(HAVE_JANSSON),,Jansson )$(if $(HAVE_RANDOM123),,Random123 )and pkg-config: run 'make setup', or: apt-get install $$(tools/setup --list)" >&2; exit 2
endif
	@$(if $(HAVE_MPI),:,echo "left out: MPI (no mpicc; apt-get install libopenmpi-dev openmpi-bin): only --transport loopback will work")
	@$(if $(or $(HAVE_HWLOC),$(HAVE_SMPI)),:,echo "left out: hwloc (apt-get install libhwloc-dev): records will carry no topology")
	@$(if $(HAVE_ZLIB),:,echo "left out: zlib (apt-get install zlib1g-dev): traces packed by gzip cannot be read")
	@$(if $(or $(HAVE_BLAS),$(HAVE_SMPI)),:,echo "left out: BLAS (apt-get install libopenblas-dev): no --compute gemm")
	@$(if $(or $(HAVE_CUDA),$(HAVE_SMPI)),:,echo "left out: CUDA (no toolkit found; set CUDA_HOME): no --device cuda")
	@$(if $(or $(HAVE_NCCL),$(HAVE_SMPI),$(if $(HAVE_CUDA),,no)),:,echo "left out: NCCL (no nccl.h beside CUDA, or no MPI; set NCCL_HOME): no --transport nccl")

# Objects depend on the command that made them: another MPI or sanitizer rebuilds all.
$(BUILD)/command: FORCE
	@mkdir -p $(@D); echo '$(subst ','\'',$(COMPILE)) $(HAVE_MPI) $(LIBS) $(if $(HAVE_CUDA),$(NVCC) $(NVCC_FLAGS))' | cmp -s - $@ || echo '$(subst ','\'',$(COMPILE)) $(HAVE_MPI) $(LIBS) $(if $(HAVE_CUDA),$(NVCC) $(NVCC_FLAGS))' >$@
FORCE:

$(BUILD)/obj/%.o: %.c $(BUILD)/command
	@mkdir -p $(@D)
	$(call QUIET,cc  )$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.cu.o: %.cu $(BUILD)/command
	@mkdir -p $(@D)
	$(call QUIET,nvcc)$(NVCC) $(NVCC_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(LIBRARY): $(call object,$(LIBRARY_SOURCES) $(KERNEL_SOURCES))
	@rm -f $@
	@ar rcs $@ $^

$(PROGRAM): $(call object,$(DRIVER_SOURCES)) $(LIBRARY)
	$(call QUIET,link)$(LINK) -o $@ $^ $(LIBS)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call QUIET,link)$(LINK) -o $@ $^ $(LIBS) -lcmocka

$(BUILD)/tests/mpi/%: $(BUILD)/obj/tests/mpi/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call QUIET,link)$(LINK) -o $@ $^ $(LIBS)

$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call QUIET,link)$(LINK) -o $@ $^ $(LIBS)

# Faults are planted under MPI's profiling interface: the program under test stays as it is.
$(BUILD)/tests/fakes/%.so: tests/fakes/%.c $(BUILD)/command
	@mkdir -p $(@D)
	$(call QUIET,cc  )$(COMPILE) -fPIC -shared -o $@ $<

# Libraries with the names of CUDA's, cuBLAS's and NCCL's, over host memory and MPI: tests run the program on them where
# there is no GPU (tests/fakes/gpu/README.md). Found by LD_LIBRARY_PATH, never installed.
FAKE_GPU = $(BUILD)/tests/fakes/gpu
fake_name = $(notdir $(firstword $(wildcard $(1)lib$(2).so.? $(1)lib$(2).so.??)))
GPU_FAKES = $(if $(HAVE_CUDA),$(addprefix $(FAKE_GPU)/,$(call fake_name,$(CUDA_LIB),cudart) $(call fake_name,$(CUDA_LIB),cublas)) \
    $(if $(HAVE_NCCL),$(FAKE_GPU)/$(call fake_name,$(NCCL_LIB),nccl)))

$(FAKE_GPU)/libcudart.so.%: $(wildcard tests/fakes/gpu/cudart*) $(wildcard tests/fakes/gpu/*.h) $(wildcard src/device/*.cu src/device/*.cuh src/device/*.h) $(BUILD)/command
	@mkdir -p $(@D)
	$(call QUIET,fake)for f in $(wildcard tests/fakes/gpu/cudart*.c); do $(COMPILE) -fPIC -c -o $(@D)/$$(basename $$f).o $$f || exit 1; done && \
	    $(CXX) -std=c++17 -O2 -g -Wall -Wextra -fPIC -shared -pthread $(SANITIZERS) -Iinclude -isystem $(CUDA_HOME)/include -Wl,-soname,$(@F),--default-symver -o $@ $(@D)/cudart*.c.o tests/fakes/gpu/cudart_kernels.cc

$(FAKE_GPU)/libcublas.so.% $(FAKE_GPU)/libnccl.so.%: $(wildcard tests/fakes/gpu/*.[ch]) $(BUILD)/command
	@mkdir -p $(@D)
	$(call QUIET,fake)$(COMPILE) -fPIC -shared -Wl,-soname,$(@F) -o $@ $(wildcard tests/fakes/gpu/$(patsubst lib%,%,$(firstword $(subst ., ,$(@F))))*.c)

# Readers under whatever bytes (tests/fuzz): with a driver of our own, and with libFuzzer for `make fuzz`.
FUZZ_SOURCES = $(filter-out tests/fuzz/driver.c tests/fuzz/libfuzzer.c,$(wildcard tests/fuzz/*.c))
FUZZ_OBJECTS = $(call object,$(FUZZ_SOURCES) $(filter-out bench/main.c,$(DRIVER_SOURCES)))

$(BUILD)/tests/fuzz/fuzz: $(call object,tests/fuzz/driver.c) $(FUZZ_OBJECTS) $(LIBRARY)
	@mkdir -p $(@D)
	$(call QUIET,link)$(LINK) -o $@ $^ $(LIBS)

$(BUILD)/tests/fuzz/libfuzzer: $(call object,tests/fuzz/libfuzzer.c) $(FUZZ_OBJECTS) $(LIBRARY)
	@mkdir -p $(@D)
	$(call QUIET,link)$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)
	@for t in $$($(@D)/fuzz --list); do ln -sf libfuzzer $(@D)/fuzz-$$t; done
$(BUILD)/tests/fuzz/libfuzzer: | $(BUILD)/tests/fuzz/fuzz

-include $(patsubst %.o,%.d,$(call object,$(LIBRARY_SOURCES) $(KERNEL_SOURCES) $(DRIVER_SOURCES) $(wildcard tests/unit/*.c tests/mpi/*.c tests/bench/*.c tests/fuzz/*.c)))

tests: all $(UNIT_TESTS) $(MPI_TESTS) $(MPI_FAKES) $(GPU_FAKES) $(BENCHES) $(BUILD)/tests/fuzz/fuzz

# ---- What a person calls ---------------------------------------------------------------------
# Set-up may bring parts that were missing when this file was read, an MPI above all: the second make reads it anew.
setup:
	@tools/setup $(if $(findstring mpich,$(MPICC)),--mpich) $(SETUP_FLAGS)

check: SETUP_FLAGS = --tests
$(SET_UP): setup
	@$(MAKE) --no-print-directory $@-set-up

run-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync all
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" tools/run-here

check-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync tests
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" SANITIZE="$(SANITIZE)" CC="$(CC)" CUDA_HOME="$(CUDA_HOME)" CUDA_ARCHS="$(CUDA_ARCHS)" tests/run

# Of the documentation, from kept runs.
pictures-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync all
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" tools/pictures

# The same sources for simulated networks, started by tools/sim.
sim:
	@command -v smpicc >/dev/null || { echo "make sim needs SimGrid: run 'tools/setup --sim', or: apt-get install libsimgrid-dev" >&2; exit 2; }
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/sim MPICC=smpicc CUDA_HOME= all

bench-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync tests
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" tests/bench/run

# Every reader of files and of options, FUZZ_RUNS times under sanitizers: by clang's libFuzzer, or without clang by the driver
# that `make check` has.
FUZZ_RUNS ?= 100000
FUZZ_CLANG := $(shell echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return b == 0 || n == 0; }' | clang -x c -fsanitize=fuzzer -o /dev/null - 2>/dev/null && echo yes)
FUZZ_MAKE = $(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/fuzz MPICC= CUDA_HOME= CFLAGS='-O1 -g' CC=$(if $(FUZZ_CLANG),clang,$(CC))
fuzz: setup
	@$(if $(FUZZ_CLANG),:,echo "no libFuzzer (apt-get install clang): inputs are made by tests/fuzz/driver.c")
	@+$(FUZZ_MAKE) SANITIZE=address,undefined$(if $(FUZZ_CLANG),$(comma)fuzzer-no-link) $(BUILD)/fuzz/tests/fuzz/$(if $(FUZZ_CLANG),libfuzzer,fuzz)
	@tests/fuzz/run $(BUILD)/fuzz/tests/fuzz $(FUZZ_RUNS) $(FUZZ_TARGETS)

# On a machine with GPUs; where there is none they say so.
check-gpu-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync tests
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" CC="$(CC)" tests/gpu-run

bench-gpu-set-up:
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync tests
	@BUILD=$(BUILD) MPIRUN="$(MPIRUN)" tests/bench/gpu-run

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/moe \
	    $(DESTDIR)$(PREFIX)/share/doc/moe-a2a
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/moe/*.h $(DESTDIR)$(PREFIX)/include/moe/
	install -m 644 README.md LICENSE docs/*.md $(DESTDIR)$(PREFIX)/share/doc/moe-a2a/
	install -d $(DESTDIR)$(PREFIX)/share/doc/moe-a2a/pictures
	install -m 644 docs/pictures/* $(DESTDIR)$(PREFIX)/share/doc/moe-a2a/pictures/
	install -d $(DESTDIR)$(PREFIX)/share/doc/moe-a2a/examples
	install -m 644 examples/* $(DESTDIR)$(PREFIX)/share/doc/moe-a2a/examples/
	install -d $(DESTDIR)$(PREFIX)/share/moe-a2a/plot/figures $(DESTDIR)$(PREFIX)/share/moe-a2a/plot/page
	install -m 644 plot/page/* $(DESTDIR)$(PREFIX)/share/moe-a2a/plot/page/
	install -m 644 plot/*.py $(DESTDIR)$(PREFIX)/share/moe-a2a/plot/
	install -m 644 plot/figures/*.py $(DESTDIR)$(PREFIX)/share/moe-a2a/plot/figures/
	for kind in acceptance machines reproduce workloads; do install -d $(DESTDIR)$(PREFIX)/share/moe-a2a/patterns/$$kind && \
	    install -m 644 patterns/$$kind/*.json $(DESTDIR)$(PREFIX)/share/moe-a2a/patterns/$$kind/ || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/share/moe-a2a/patterns/platforms
	install -m 644 patterns/platforms/*.xml $(DESTDIR)$(PREFIX)/share/moe-a2a/patterns/platforms/
	@if [ -f $(BUILD)/sim/moe-a2a ]; then echo "with what \`make sim\` built: moe-a2a-sim" && \
	    install -D -m 755 $(BUILD)/sim/moe-a2a $(DESTDIR)$(PREFIX)/lib/moe-a2a/moe-a2a && \
	    install -m 755 tools/sim $(DESTDIR)$(PREFIX)/bin/moe-a2a-sim; fi
	printf 'prefix=%s\nName: moe-a2a\nDescription: Mixture-of-Experts all-to-all benchmark library\nVersion: %s\nRequires: %s\nCflags: -I$${prefix}/include\nLibs: -L$${prefix}/lib -lmoe-a2a %s -lm -pthread\n' \
	    '$(PREFIX)' '$(VERSION)' '$(PACKAGES)' '$(strip $(CUDA_LIBS))' >$(DESTDIR)$(PREFIX)/lib/pkgconfig/moe-a2a.pc

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/bin/moe-a2a $(DESTDIR)$(PREFIX)/bin/moe-a2a-sim $(DESTDIR)$(PREFIX)/lib/moe-a2a $(DESTDIR)$(PREFIX)/lib/libmoe-a2a.a \
	    $(DESTDIR)$(PREFIX)/lib/pkgconfig/moe-a2a.pc $(DESTDIR)$(PREFIX)/include/moe $(DESTDIR)$(PREFIX)/share/doc/moe-a2a \
	    $(DESTDIR)$(PREFIX)/share/moe-a2a

clean:
	rm -rf $(BUILD)

FORMATTED = $(wildcard include/moe/*.h src/*/*.[ch] src/*/*.cu src/*/*.cuh bench/*.[ch] bench/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch])
format:
	clang-format -i $(FORMATTED)

lint:
	@tools/setup --lint
	clang-format --dry-run -Werror $(FORMATTED)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem -DMOE_VERSION='""' -DMOE_HAVE_BLAS -DMOE_HAVE_ZLIB -DMOE_HAVE_HWLOC -DMOE_HAVE_MPI -DMOE_HAVE_CUDA -DMOE_HAVE_NCCL -Iinclude src bench
	clang-tidy --quiet --warnings-as-errors='*' $(LIBRARY_SOURCES) $(DRIVER_SOURCES) -- -std=c11 $(CPPFLAGS) $(PACKAGE_CFLAGS) \
	    $(if $(HAVE_MPI),$(shell $(MPICC) -show 2>/dev/null | tr ' ' '\n' | grep '^-I'))
