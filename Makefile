# SPDX-License-Identifier: MIT
# p2pfs.  make help tells the targets.
#
#   B=DIR     where objects go (default: build; the sanitizer targets use build-asan, build-tsan)
#   SAN=...   -fsanitize= argument
#   V=1       show the commands
#   PREFIX, SBINDIR, DESTDIR   for install

PREFIX ?= /usr/local
SBINDIR ?= /usr/sbin
DESTDIR ?=
B ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
PKGS := fuse3 libcurl openssl libevent_core libevent_extra libevent_openssl libevent_pthreads jansson sqlite3 hiredis
VERSION := $(shell cat VERSION)

WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wwrite-strings \
	-Wformat=2 -Wno-unused-parameter -Werror
# Asked once, and silent where nothing is installed yet: demo and check install what is missing.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
override CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 \
	-DP2PFS_VERSION='"$(VERSION)"' -I. $(PKG_CFLAGS)
override CFLAGS += -std=gnu17 -pthread $(WARN) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
	$(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
override LDFLAGS += -pthread $(if $(SAN),-fsanitize=$(SAN))
LDLIBS := $(PKG_LIBS) -lm

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

AREAS := base swarm fs tracker
SRC := $(wildcard $(AREAS:%=%/*.c))
OBJ := $(SRC:%.c=$(B)/%.o)
LIB := $(B)/libp2pfs.a
PROGRAM := $(B)/p2pfs
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
DRIVERS := $(patsubst %.c,$(B)/%,$(wildcard tests/lib/*.c))
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

all: $(PROGRAM) p2pfs

$(PROGRAM): $(B)/p2pfs.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The program where users and scripts look for it; a sanitizer build leaves it alone.
p2pfs: $(if $(SAN),,$(PROGRAM))
	$(Q)$(if $(SAN),:,ln -sf $(PROGRAM) p2pfs)

$(LIB): $(OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c Makefile VERSION
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIB) $(LDLIBS) -lcmocka

# Programs that pytest drives single modules with.
$(B)/tests/lib/%: $(B)/tests/lib/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIB) $(LDLIBS)

# A fuzz target built here has a main that replays files; `make fuzz` links libFuzzer instead.
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/replay.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/tests/fuzz/replay.o $(LIB) $(LDLIBS)

.PRECIOUS: $(B)/%.o
-include $(OBJ:.o=.d) $(B)/p2pfs.d $(wildcard $(B)/tests/*/*.d)

# -- tests ----------------------------------------------------------------------------------

drivers: $(DRIVERS)

check-unit: $(UNIT) $(FUZZ)  ## unit tests and the fuzz corpora
	$(Q)tests/run-unit $(B)

check:  ## everything: set-up, unit tests, corpora, pytest
	$(Q)scripts/setup.sh test
	$(Q)$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc)) check-built

check-built: all $(UNIT) $(FUZZ) $(DRIVERS)
	$(Q)P2PFS=$(abspath $(PROGRAM)) tests/run-all $(B)

check-asan:  ## the whole suite under ASan and UBSan
	$(Q)$(MAKE) B=build-asan SAN=address,undefined CFLAGS="-O1 -g" check

check-tsan:  ## the threaded parts under TSan
	$(Q)$(MAKE) B=build-tsan SAN=thread CFLAGS="-O1 -g" all drivers check-unit
	$(Q)P2PFS=$(abspath build-tsan/p2pfs) tests/run-pytest -m threads

FUZZ_SECONDS ?= 60
fuzz:  ## libFuzzer (clang), FUZZ_SECONDS each (default 60)
	$(Q)B=build-fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

# -- the rest -------------------------------------------------------------------------------

demo:  ## set up, build, make an image, a tracker and a seed, mount, read, show
	$(Q)scripts/demo.sh

bench: all drivers  ## speed on loopback as ratios (slow; not part of check); BENCH=--quick
	$(Q)P2PFS=$(abspath $(PROGRAM)) /usr/bin/python3 -B tests/bench/bench.py $(BENCH)

format:  ## clang-format in place
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

tidy:  ## clang-tidy
	$(Q)clang-tidy --quiet $(SRC) p2pfs.c -- $(CPPFLAGS) -std=gnu17

install: all  ## into DESTDIR/PREFIX, with the mount helpers in SBINDIR
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/p2pfs
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	for page in man/*.[18]; do install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/ || exit 1; done
	ln -sf $(PREFIX)/bin/p2pfs $(DESTDIR)$(SBINDIR)/mount.p2pfs
	ln -sf $(PREFIX)/bin/p2pfs $(DESTDIR)$(SBINDIR)/mount.fuse.p2pfs

clean:
	rm -rf build build-* p2pfs

help:
	@sed -n 's/^\([a-z-]*\):.*## /  \1: /p' $(MAKEFILE_LIST)

.PHONY: all drivers check check-built check-unit check-asan check-tsan fuzz demo bench format tidy install clean help p2pfs
