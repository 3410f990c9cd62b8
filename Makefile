# recsysd. Newcomers need two commands: `make demo` and `make test`; both set everything up themselves.
#
#   make              build/release/{recsysd,recsysctl,recsys-rescore,recsys-train}
#   make BUILD=asan   the same under AddressSanitizer and UBSan, in build/asan; also tsan, fuzz
#   make demo         a synthetic shop, imported, served and explained in a minute
#   make test         unit and integration tests, plain and under sanitizers
#   make lint         layers, format, clang-tidy, cppcheck, shellcheck, man pages
#   make stress       the thread tests under TSan
#   make fuzz         every fuzz target for FUZZ_SECONDS (default 10)
#   make quality      train and evaluate every variant on public sets; hours (tests/tests.mk says how to choose)
#   make install      into PREFIX (/usr/local)

BUILD ?= release
PREFIX ?= /usr/local
VERSION := 0.1.0
out := build/$(BUILD)
gen := build/gen
MAKEFLAGS += --no-builtin-rules --no-print-directory
say = @printf '  %-5s %s\n' # one line a step; make V=1 shows the commands
ifdef V
say = @\#
else
.SILENT:
endif
.DELETE_ON_ERROR:

CC = gcc
packages = libzmq sqlite3 openblas yaml-0.1 libprotobuf-c jansson libmicrohttpd smartcols libxxhash libsodium
WARNINGS = -Wall -Wextra -Wformat=2 -Wconversion -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef
ifneq ($(CI)$(WERROR),)
WARNINGS += -Werror
endif
CFLAGS_common = -std=c11 -D_GNU_SOURCE -DRECSYSD_VERSION='"$(VERSION)"' -I. -I$(gen) -g -pthread $(WARNINGS)
CFLAGS_release = -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
CFLAGS_asan = -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -fPIE -Wno-format-truncation
CFLAGS_tsan = -O1 -fsanitize=thread -fno-omit-frame-pointer -fPIE -Wno-format-truncation
CFLAGS_fuzz = -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fPIE
LDFLAGS_release = -pie -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_asan = -pie -fsanitize=address,undefined
LDFLAGS_tsan = -pie -fsanitize=thread
LDFLAGS_fuzz = -pie -fsanitize=address,undefined
ifeq ($(BUILD),fuzz)
CC = clang
WARNINGS = -Wall -Wextra
endif
CFLAGS_all = $(CFLAGS_common) $(CFLAGS_$(BUILD)) $(package_cflags) $(CFLAGS)
package_cflags = $(shell pkg-config --cflags $(packages) | sed 's/-I\//-isystem \//g')
LIBS = $(shell pkg-config --libs $(packages)) -lunistring -lJudy -lm -pthread

# ---- what is built of what. A folder is a layer is a library; a program is the .c file of its name.
protos := $(patsubst proto/%.proto,%,$(wildcard proto/*.proto))
proto_sources := $(protos:%=$(gen)/proto/%.pb-c.c)
proto_headers := $(proto_sources:.c=.h)
proto_generated := $(protos:%=$(out)/gen/%.pb-c.o)
proto_objects := $(patsubst %.c,$(out)/%.o,$(wildcard proto/*.c)) $(proto_generated)
kernel_sets := plain avx2 avx512
models_objects := $(patsubst %.c,$(out)/%.o,$(filter-out models/kernels_isa.c,$(wildcard models/*.c))) \
                  $(kernel_sets:%=$(out)/models/kernels_%.o)
storage_objects := $(patsubst %.c,$(out)/%.o,$(wildcard storage/*.c storage/sqlite/*.c))
programs := recsysd recsysctl recsys-rescore recsys-train
program_sources := $(programs:%=daemon/%.c)
ctl_objects := $(patsubst %.c,$(out)/%.o,$(wildcard daemon/ctl_*.c) daemon/npy.c daemon/atomic_file.c daemon/progress.c daemon/timestamp.c \
    $(wildcard daemon/config*.c))
daemon_objects := $(patsubst %.c,$(out)/%.o,$(filter-out $(program_sources) $(wildcard daemon/ctl_*.c) daemon/npy.c daemon/atomic_file.c,$(wildcard daemon/*.c)))
layers := $(out)/libdaemon.a $(out)/libstorage.a $(out)/libmodels.a $(out)/libproto.a

.PHONY: all
all: $(programs:%=$(out)/%)

$(out)/recsysctl: $(out)/daemon/recsysctl.o $(ctl_objects) $(out)/libproto.a
$(out)/recsysd $(out)/recsys-rescore $(out)/recsys-train: $(out)/%: $(out)/daemon/%.o $(layers)
$(programs:%=$(out)/%):
	$(say) LINK $@
	$(CC) $(LDFLAGS_$(BUILD)) -o $@ $^ $(LIBS)

$(out)/libproto.a: $(proto_objects)
$(out)/libmodels.a: $(models_objects)
$(out)/libstorage.a: $(storage_objects)
$(out)/libdaemon.a: $(daemon_objects)
$(layers):
	@rm -f $@
	ar rcs $@ $^

$(proto_sources): $(gen)/proto/%.pb-c.c: proto/%.proto
	@mkdir -p $(gen)
	protoc-c --c_out=$(gen) $<
$(proto_headers): %.h: %.c ;
$(proto_generated): $(out)/gen/%.o: $(gen)/proto/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_all) -w -c -o $@ $<

$(out)/%.o: %.c | $(proto_headers)
	@mkdir -p $(@D)
	$(say) CC $<
	$(CC) $(CFLAGS_all) -MMD -MP -c -o $@ $<

kernel_flags = -O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math -DKERNELS_SET=kernels_$* -DKERNELS_NAME='"$*"'
kernel_isa_plain =
kernel_isa_avx2 = -mavx2 -mfma
kernel_isa_avx512 = -mavx512f -mavx512vl -mavx512dq -mprefer-vector-width=512
$(kernel_sets:%=$(out)/models/kernels_%.o): $(out)/models/kernels_%.o: models/kernels_isa.c
	@mkdir -p $(@D)
	$(say) CC "$< ($*)"
	$(CC) $(CFLAGS_all) $(kernel_flags) $(kernel_isa_$*) -MMD -MP -c -o $@ $<

-include $(shell find $(out) -name '*.d' 2>/dev/null)

include tests/tests.mk

# ---- rules that a reader would otherwise have to believe
includes = grep -n '\#include "' $(wildcard $(1)/*.[ch] $(1)/*/*.[ch])
.PHONY: layers
layers:
	@! $(call includes,proto)   | grep -v '"proto/'
	@! $(call includes,models)  | grep -v -e '"models/'  -e '"proto/status.h"'
	@! $(call includes,storage) | grep -v -e '"storage/' -e '"proto/status.h"'
	@echo "layers: proto, models and storage include nothing they should not know"

sources = $(wildcard daemon/*.[ch] models/*.[ch] storage/*.[ch] storage/sqlite/*.[ch] proto/*.[ch] tests/*/*.[ch])
.PHONY: lint format compile_commands
format:
	clang-format -i $(sources)
# cppcheck does not see through uthash and the message macros; uninitialised reads are left to the analyzer of clang-tidy
lint: layers compile_commands
	sh etc/setup.sh build lint
	clang-format --dry-run -Werror $(sources)
	shellcheck etc/*.sh .ci/run tests/run.sh tests/*/*.sh
	for page in etc/man/*.scd; do scdoc < $$page > /dev/null || exit 1; done
	cppcheck --quiet --enable=warning,portability --inline-suppr --error-exitcode=1 --suppress=missingIncludeSystem \
	    --suppress=unknownMacro --suppress=readdirCalled --suppress=uninitvar --suppress=uninitStructMember -I. -DPROTOBUF_C_VERSION_NUMBER=1004001 --library=posix -D_GNU_SOURCE -j2 daemon models storage proto
	printf "%s\n" $(filter-out models/kernels_isa.c,$(wildcard daemon/*.c models/*.c storage/*.c storage/sqlite/*.c proto/*.c)) | \
	    xargs -P2 -n8 clang-tidy --quiet -p build 2> build/clang-tidy.log || { grep -v -E "warnings? generated" build/clang-tidy.log; exit 1; }
compile_commands: $(proto_headers)
	@etc/compile_commands.sh "$(filter-out -DRECSYSD_VERSION%,$(CFLAGS_common)) $(package_cflags)" $(wildcard */*.c storage/sqlite/*.c) > build/compile_commands.json

.PHONY: demo
demo:
	sh etc/setup.sh build
	@mkdir -p build
	+@$(MAKE) -j2 all build/release/make_shop > build/demo-build.log 2>&1 || { tail -n 30 build/demo-build.log; exit 1; }
	sh etc/demo.sh

man_pages := $(patsubst etc/man/%.scd,build/man/%,$(wildcard etc/man/*.scd))
build/man/%: etc/man/%.scd
	@mkdir -p $(@D)
	scdoc < $< > $@
.PHONY: man install clean
man: $(man_pages)
install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man $(DESTDIR)/etc/recsysd $(DESTDIR)/lib/systemd/system
	install -m 755 $(programs:%=$(out)/%) $(DESTDIR)$(PREFIX)/bin
	test -e $(DESTDIR)/etc/recsysd/recsysd.yaml || install -m 644 etc/recsysd.yaml $(DESTDIR)/etc/recsysd/recsysd.yaml
	test -e $(DESTDIR)/etc/recsysd/scenarios.yaml || install -m 644 etc/scenarios.yaml $(DESTDIR)/etc/recsysd/scenarios.yaml
	test -e $(DESTDIR)/etc/recsysd/experiments.yaml || install -m 644 etc/experiments.yaml $(DESTDIR)/etc/recsysd/experiments.yaml
	test -e $(DESTDIR)/etc/recsysd/messages.yaml || install -m 644 etc/messages.yaml $(DESTDIR)/etc/recsysd/messages.yaml
	install -D -m 644 etc/recsysd.sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/recsysd.conf
	install -m 644 etc/recsysd.service etc/recsysd@.service $(DESTDIR)/lib/systemd/system
	install -D -m 755 etc/recsys-retrain.sh $(DESTDIR)$(PREFIX)/lib/recsysd/recsys-retrain.sh
	install -m 644 etc/recsys-retrain.service etc/recsys-retrain.timer etc/recsys-retrain@.service etc/recsys-retrain@.timer $(DESTDIR)/lib/systemd/system
	for page in $(man_pages); do install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
clean:
	rm -rf build
