# How tests are built and run; included by the Makefile.
#
#   unit         Criterion, one program per file of tests/unit; under ASan and UBSan by default, because a test that passes there
#                passes everywhere
#   integration  Python against the real daemon's sockets (tests/integration/run.py)
#   stress       threads, as plain programs (Criterion does not start under TSan)
#   fuzz         libFuzzer, with clang

TEST_BUILD ?= asan
test_out := build/$(TEST_BUILD)

# ---- built with BUILD=..., by the recursive makes below
unit_names := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
unit_programs := $(unit_names:%=$(out)/tests/unit/%)
stress_programs := $(patsubst tests/%.c,$(out)/tests/%,$(wildcard tests/stress/stress_*.c))
fuzz_programs := $(patsubst tests/%.c,$(out)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
support_objects := $(patsubst %.c,$(out)/%.o,$(filter-out tests/support/make_shop.c,$(wildcard tests/support/*.c)))
tool_objects := $(filter-out $(daemon_objects),$(ctl_objects))
TEST_LIBS = $(support_objects) $(tool_objects) $(layers)

$(out)/make_shop: $(out)/tests/support/make_shop.o
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $^ -lm

# a fake store takes the place of the real one in these
$(out)/tests/unit/test_histories $(out)/tests/unit/test_catalog $(out)/tests/stress/stress_histories: fake_store = $(out)/tests/unit/fake_store.o
$(out)/tests/unit/test_histories $(out)/tests/unit/test_catalog $(out)/tests/stress/stress_histories: $(out)/tests/unit/fake_store.o
$(unit_programs): $(out)/tests/unit/%: $(out)/tests/unit/%.o $(support_objects) $(tool_objects) $(layers)
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $< $(fake_store) $(TEST_LIBS) $(shell pkg-config --libs criterion) $(LIBS)
$(stress_programs): $(out)/tests/stress/%: $(out)/tests/stress/%.o $(support_objects) $(layers)
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $< $(fake_store) $(support_objects) $(layers) $(LIBS)
$(fuzz_programs): $(out)/tests/fuzz/%: $(out)/tests/fuzz/%.o $(tool_objects) $(layers)
	$(say) LINK $@
	$(CC) $(LDFLAGS_fuzz) -fsanitize=fuzzer -o $@ $< $(tool_objects) $(layers) $(LIBS)

.PHONY: unit_programs stress_programs fuzz_programs
unit_programs: $(unit_programs)
stress_programs: $(stress_programs)
fuzz_programs: $(fuzz_programs)

# ---- what people call
.PHONY: test unit integration stress fuzz
test:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all build/release/make_shop
	+@$(MAKE) -j2 BUILD=$(TEST_BUILD) unit_programs
	sh tests/run.sh $(test_out)
unit:
	+@$(MAKE) -j2 BUILD=$(TEST_BUILD) unit_programs
	sh tests/run.sh --unit $(test_out)
integration:
	+@$(MAKE) -j2 all build/release/make_shop
	sh tests/run.sh --integration $(test_out)
stress:
	+@$(MAKE) -j2 BUILD=tsan stress_programs
	sh tests/stress/run.sh build/tsan/tests/stress
FUZZ_SECONDS ?= 10
fuzz:
	sh etc/setup.sh build fuzz
	+@$(MAKE) -j2 BUILD=fuzz fuzz_programs
	sh tests/fuzz/run.sh build/fuzz/tests/fuzz $(FUZZ_SECONDS)
