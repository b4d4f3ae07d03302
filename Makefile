# Thin on purpose: every target calls a Python module that does the work.

# O= receives what is built, and .config; KCONFIG_CONFIG= is another file instead of that.
ifdef O
export XENARM_O := $(O)
endif
ifdef KCONFIG_CONFIG
export KCONFIG_CONFIG
endif
export KCONFIG_SEED

# The board that .config is for, unless another is asked for.
DOT_CONFIG := $(or $(KCONFIG_CONFIG),$(if $(O),$(O)/).config)
board ?= $(or $(shell sed -n 's/^CONFIG_BOARD="\(.*\)"$$/\1/p' '$(DOT_CONFIG)' 2>/dev/null),qemu-virt-arm64)
GUEST ?= hello
CPUS ?= 1
MEM ?=
GIC ?=
MINUTES ?= 30
SEED ?= 1
PYTEST_ARGS ?=
DEPLOY ?=
FLASH ?=
PORT ?=
BAUD ?=
STORAGE ?=
CONSOLE ?=
DOMAINS ?=
LOG ?=
TARGET ?=

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The environment is made anew, in place, whenever the pinned requirements change.
STAMP := $(VENV)/.requirements-$(shell cksum requirements.txt | tr ' ' - | cut -d- -f1,2)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
# One target after the other, as in 'make arndale_defconfig build'; -j is for the images that a build consists of.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@echo "usage: make [TARGET] [board=$(board)]"
	@awk -F ':.*## ' '/^[a-z_%-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(STAMP) ## boot a guest: GUEST=hello|debian|hello32|debian32 CPUS=<n> MEM=<MiB> GIC=2|3, or a deployment: DEPLOY=<name>, or from the flash: FLASH=1; CONSOLE=1 leaves the line to make console
	@$(PY) -m xenarm.tools.run --board $(board) $(if $(FLASH),--flash) $(if $(CONSOLE),--console) $(if $(DEPLOY),--deploy '$(DEPLOY)') --guest $(GUEST) --cpus $(CPUS) $(if $(MEM),--mem $(MEM)) $(if $(GIC),--gic $(GIC))

.PHONY: deploy
deploy: $(STAMP) ## check a deployment, build it, and print where everything lies: DEPLOY=<name in deploy/, or a file>
	@$(PY) -m xenarm.tools.deploy --board $(board) $(if $(DEPLOY),--deploy '$(DEPLOY)')

.PHONY: flash
flash: $(STAMP) ## put a deployment onto a board: DEPLOY=<name>; a real one by U-Boot: PORT=/dev/ttyUSB0 BAUD=<n> STORAGE='none|sf <offset>|mmc 0:1' in the place of the board's own
	@$(PY) -m xenarm.tools.flash --board $(board) $(if $(DEPLOY),--deploy '$(DEPLOY)') $(if $(PORT),--port '$(PORT)') $(if $(BAUD),--baud $(BAUD)) $(if $(STORAGE),--storage '$(STORAGE)')

.PHONY: console
console: $(STAMP) ## the console of a board: PORT=/dev/ttyUSB0 BAUD=<n> DOMAINS=<name,name> LOG=<file>; of QEMU after make run CONSOLE=1
	@$(PY) -m xenarm.tools.terminal --board $(board) $(if $(PORT),--port '$(PORT)') $(if $(BAUD),--baud $(BAUD)) $(if $(DOMAINS),--domains '$(DOMAINS)') $(if $(LOG),--log '$(LOG)')

.PHONY: debug
debug: $(STAMP) ## gdb on the running board, with Python's lines and commands for domains, vCPUs, stage 2, the log: TARGET=<host:port>
	@$(PY) -m xenarm.tools.debug --board $(board) $(if $(TARGET),--target '$(TARGET)')

TEST_BOARD := $(if $(filter command line,$(origin board)),$(board))
.PHONY: test
test: $(STAMP) ## run all tests, with board=<name> on the command line those that concern it: PYTEST_ARGS='-k name' to choose
	@$(if $(TEST_BOARD),$(PY) -m xenarm.tools.boards --board '$(TEST_BOARD)' >/dev/null)
	@$(PY) -m xenarm.tools.doctor test --quiet
	@$(PY) -m xenarm.tools.debian --quiet
	@$(PY) -m pytest -n 2 tests $(if $(TEST_BOARD),--board '$(TEST_BOARD)') $(PYTEST_ARGS)

.PHONY: test-long
test-long: $(STAMP) ## ten thousand random programs on every engine, a hundred random configurations of all boards, a build without each switch, the image of each board, each 32-bit tree of Debian's: XENARM_PROGRAMS=n XENARM_CONFIGURATIONS=n XENARM_SEED=n
	@XENARM_PROFILE=long $(PY) -m pytest -o faulthandler_timeout=0 -s tests/engines/test_programs.py $(PYTEST_ARGS)
	@XENARM_CONFIGURATIONS=$(or $(XENARM_CONFIGURATIONS),100) $(PY) -m pytest -o faulthandler_timeout=0 -s tests/boards/test_random_configurations.py $(PYTEST_ARGS)
	@XENARM_SWITCHES=all $(PY) -m pytest -o faulthandler_timeout=0 tests/boards/test_switches.py $(PYTEST_ARGS)
	@XENARM_BOARDS=all $(PY) -m pytest -o faulthandler_timeout=0 tests/boards/test_board_images.py $(PYTEST_ARGS)
	@XENARM_TREES=all $(PY) -m pytest tests/xenarm/test_tree_doctor.py $(PYTEST_ARGS)

.PHONY: trace
trace: $(STAMP) ## turn a trace into JSON for Perfetto: FILE=<console log or memory dump> OUT=<file>
	@$(PY) -m xenarm.tools.trace $(if $(FILE),'$(FILE)') $(if $(OUT),-o '$(OUT)')

.PHONY: soak
soak: $(STAMP) ## Debian's checksums beside guests that misbehave, for a long time: MINUTES=<n> SEED=<n>
	@$(PY) -m xenarm.tools.soak --board $(board) --minutes $(MINUTES) --seed $(SEED)

.PHONY: bench
bench: $(STAMP) ## measure against Debian's Xen, arm64 and ARM32 in one run; with board=NAME that board alone
	@$(PY) -m xenarm.tools.doctor run --quiet
	@$(PY) -m xenarm.tools.bench $(if $(filter command line,$(origin board)),--board $(board))

.PHONY: bench-language
bench-language: $(STAMP) ## measure the language against C by the same compiler
	@$(PY) -m bench.language

.PHONY: build
build: $(STAMP) ## build build/<board>/xenarm (the default target) and the files that carry a deployment: DEPLOY=<name>, V=1 shows the commands, -j<n> builds as many at once
	@$(if $(DEPLOY),$(PY) -m xenarm.tools.deploy --board $(board) --deploy '$(DEPLOY)' --check)
	@$(PY) -m xenarm.tools.build --board $(board) $(if $(filter 1,$(V)),--verbose)
	@$(PY) -m xenarm.tools.image --board $(board) --no-build $(if $(DEPLOY),--deploy '$(DEPLOY)')

.PHONY: size
size: $(STAMP) ## what the image's bytes are: AGAINST=<build directory or ELF> MODULE=<name> ALL=1
	@$(PY) -m xenarm.tools.size --board $(board) $(if $(AGAINST),--against '$(AGAINST)') $(if $(MODULE),--module '$(MODULE)') $(if $(ALL),--all)

.PHONY: list-boards
list-boards: $(STAMP) ## print the boards; with board=NAME all about one
	@$(PY) -m xenarm.tools.boards $(if $(filter command line,$(origin board)),--board $(board))

# The verbs of Kconfig work on .config.
KCONFIG_VERBS := menuconfig guiconfig olddefconfig savedefconfig allnoconfig allyesconfig randconfig listnewconfig defconfig
.PHONY: $(KCONFIG_VERBS)
menuconfig: ## edit .config in the terminal
guiconfig: ## edit .config in a window
defconfig: ## start over from configs/<board>_defconfig
olddefconfig: ## give new symbols in .config their defaults
savedefconfig: ## write what differs from the defaults to the file defconfig
allnoconfig: ## every switch off that can be
allyesconfig: ## every switch on that can be
randconfig: ## every switch by chance: KCONFIG_SEED=<n>
listnewconfig: ## symbols that .config does not have yet
$(KCONFIG_VERBS): $(STAMP)
	@$(PY) -m xenarm.tools.kconfig $@ --board $(board)

%_defconfig: $(STAMP) ## start over from configs/<name>_defconfig: a board's, or tiny
	@$(PY) -m xenarm.tools.kconfig defconfig --board $*

.PHONY: reference
reference: $(STAMP) ## write docs/kconfig.md from Kconfig
	@$(PY) -m xenarm.tools.reference

.PHONY: mypy
mypy: $(STAMP) ## check the types
	@$(PY) -m mypy

.PHONY: doctor
ifeq ($(origin board),command line)
doctor: $(STAMP) ## check this machine for what is needed; with board=<name> a device tree for its image: DTB=<file>
	@$(PY) -m xenarm.tools.examine --board $(board) $(if $(DTB),--dtb '$(DTB)')
else
doctor:
	@$(PYTHON) -m xenarm.tools.doctor
endif

.PHONY: clean
clean: ## remove what was built, but not what was downloaded
	rm -rf $(filter-out build/debian build/debian-armhf,$(wildcard build/*))

.PHONY: distclean
distclean: ## remove everything that is not in the repository
	rm -rf build $(VENV) .mypy_cache .pytest_cache .hypothesis

# Errors of doctor are the one line to read, so make adds none of its own. What the requirements say is in the stamp's name.
$(STAMP):
	@$(PYTHON) -m xenarm.tools.doctor build --quiet
	@echo "preparing $(VENV) from requirements.txt (once, about 130 MB)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --disable-pip-version-check --requirement requirements.txt
	@rm -f $(VENV)/.requirements-*
	@touch $@
