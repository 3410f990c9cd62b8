# How tests are built and run; included by the Makefile.
#
#   unit         Criterion, one program per file of tests/unit; under ASan and UBSan by default, because a test that passes there
#                passes everywhere
#   integration  Python against the real daemon's sockets (tests/integration/run.py)
#   stress       threads, as plain programs (Criterion does not start under TSan)
#   fuzz         libFuzzer, with clang
#   quality      models trained and evaluated on public sets (tests/quality); not a test of the code, and takes hours
#   golden       the C side against PyTorch (tests/golden), where that is installed
#   bench-train  an epoch of training against PyTorch's (tests/bench)

TEST_BUILD ?= asan
test_out := build/$(TEST_BUILD)

# ---- built with BUILD=..., by the recursive makes below
unit_names := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
unit_programs := $(unit_names:%=$(out)/tests/unit/%)
stress_programs := $(patsubst tests/%.c,$(out)/tests/%,$(wildcard tests/stress/stress_*.c))
fuzz_programs := $(patsubst tests/%.c,$(out)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
golden_programs := $(out)/tests/golden/dump_scores $(out)/tests/golden/dump_gradients
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
$(golden_programs): $(out)/tests/golden/%: $(out)/tests/golden/%.o $(out)/tests/golden/dump_json.o $(support_objects) $(layers)
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $^ $(LIBS)

.PHONY: unit_programs stress_programs fuzz_programs golden_programs
unit_programs: $(unit_programs)
stress_programs: $(stress_programs)
fuzz_programs: $(fuzz_programs)
golden_programs: $(golden_programs)

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

# make quality [SETS="scientific-clip ml100k"] [SEEDS="1 2 3"] [VARIANTS="full no-streams"] [THREADS=N] [DATA=DIR] [FRESH=1]:
# hours; resumes. What is there is kept, also when it is older than the program, unless FRESH=1. Writes build/quality.md;
# quality-report writes it from the results that are there.
quality_data = $(if $(DATA),--data "$(DATA)")
.PHONY: quality quality-report
quality:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	RECSYSD_BUILD=build/release /usr/bin/python3 tests/quality/quality.py $(if $(SETS),--sets "$(SETS)") $(if $(SEEDS),--seeds "$(SEEDS)") \
	    $(if $(VARIANTS),--variants "$(VARIANTS)") $(if $(THREADS),--threads $(THREADS)) $(quality_data) $(if $(FRESH),--fresh)
quality-report:
	/usr/bin/python3 tests/quality/report.py $(quality_data)

# make golden [MODELS="FILE..."]: random models of every kind, one that recsys-train makes on the way, and those named
.PHONY: golden bench-train
golden:
	sh etc/setup.sh build test golden
	+@$(MAKE) -j2 all golden_programs
	@mkdir -p build/golden
	RECSYSD_BUILD=build/release RECSYSD_GOLDEN_MODEL=$(CURDIR)/build/golden/trained.safetensors \
	    /usr/bin/python3 -B tests/integration/run.py test_golden
	build/release/tests/golden/dump_scores build/golden build/golden/trained.safetensors $(MODELS)
	build/release/tests/golden/dump_gradients build/golden build/golden/trained.safetensors $(MODELS)
	/usr/bin/python3 -B tests/golden/compare.py build/golden

# make bench-train [SETS="ml1m instruments"] [THREADS=N] [DATA=DIR]: ends with 1 where an epoch is not twice as fast as PyTorch's
bench-train:
	sh etc/setup.sh build test golden
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/bench/bench_train.py $(SETS:%=--set %) $(THREADS:%=--threads %) $(DATA:%=--data %)

# make bench-knobs [SETS="scientific-clip ml1m"] [USERS=N] [DATA=DIR]: what each knob costs in relevance and time; 1 where one takes too long
.PHONY: bench-knobs
bench-knobs:
	sh etc/setup.sh build test bench
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/bench/bench_knobs.py $(SETS:%=--set %) $(USERS:%=--users %) $(DATA:%=--data %)

# make bench-filters [ITEMS=N]: what a filter costs among a million items; 1 where one is slower than none
.PHONY: bench-filters bench_programs
$(out)/tests/bench/bench_filters: $(out)/tests/bench/bench_filters.o $(layers)
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $^ $(LIBS)
bench_programs: $(out)/tests/bench/bench_filters
bench-filters:
	sh etc/setup.sh build
	+@$(MAKE) -j2 bench_programs
	{ echo "# Filters"; echo; build/release/tests/bench/bench_filters $(ITEMS); } > build/bench-filters.md; code=$$?; cat build/bench-filters.md; exit $$code

# make bench-newcomers [SETS=...] [USERS=N] [DATA=DIR]: what new items get, with exploration off and on
.PHONY: bench-newcomers
bench-newcomers:
	sh etc/setup.sh build test bench
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/bench/bench_newcomers.py $(SETS:%=--set %) $(USERS:%=--users %) $(DATA:%=--data %)

# make property [SETS=...] [REQUESTS=1000] [SEED=N] [DATA=DIR]: random filters, rules and knobs on real shops against an oracle
.PHONY: property
property:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/acceptance/property.py $(SETS:%=--set %) $(REQUESTS:%=--requests %) $(SEED:%=--seed %) $(DATA:%=--data %)

# make bench-explain [SETS="scientific-clip ml1m"] [USERS=N] [DATA=DIR]: what reasons and terms cost; 1 where they take too long
.PHONY: bench-explain
bench-explain:
	sh etc/setup.sh build test bench
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/bench/bench_explain.py $(SETS:%=--set %) $(USERS:%=--users %) $(DATA:%=--data %)

# make why [SETS="scientific-clip ml1m"] [REQUESTS=1000] [SEED=N] [DATA=DIR] [MODEL_scientific-clip=FILE]: what is explained on real shops,
# with the default model and with one that is trained in a hurry or given
.PHONY: why
why_models = $(foreach set,$(or $(SETS),scientific-clip ml1m),$(if $(MODEL_$(set)),--model "$(set)=$(MODEL_$(set))"))
why:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/acceptance/why.py $(SETS:%=--set %) $(REQUESTS:%=--requests %) $(SEED:%=--seed %) $(DATA:%=--data %) $(why_models)

# make reasons [MODEL=FILE] [SEED=N] [DATA=DIR]: fifty reasons to be read, in build/reasons.md, checked against the terms
.PHONY: reasons
reasons:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/acceptance/reasons.py $(MODEL:%=--model %) $(SEED:%=--seed %) $(DATA:%=--data %)

# make page [SET=scientific-clip] [USER_ID=u7] [MODEL=FILE] [DATA=DIR]: the page of a real user, opened in Chromium: build/page.html, page.png
.PHONY: page
page:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/acceptance/page.py $(SET:%=--set %) $(USER_ID:%=--user %) $(MODEL:%=--model %) $(DATA:%=--data %)

# make replay-10k [SET=scientific-clip] [MODEL=FILE] [SEED=N] [DATA=DIR]: ten thousand logged lists asked once more with another model
.PHONY: replay-10k
replay-10k:
	sh etc/setup.sh build test
	+@$(MAKE) -j2 all
	/usr/bin/python3 -B tests/acceptance/replay.py $(SET:%=--set %) $(MODEL:%=--model %) $(SEED:%=--seed %) $(DATA:%=--data %)
