# Every test runs below run-one, which ends it at its deadline with all that it started.
check_PROGRAMS += tests/run-one
tests_run_one_SOURCES = %reldir%/run_one.c
EXTRA_DIST += %reldir%/deadlines
LOG_COMPILER = tests/run-one
AM_LOG_FLAGS = -t $(srcdir)/tests/deadlines
dist_check_SCRIPTS += %reldir%/run_one.sh
TESTS += %reldir%/run_one.sh

# For tools/check, which chooses of them by tests/lists.
list-tests:
	@printf '%s\n' $(TESTS)
list-test-programs:
	@printf '%s\n' $(check_PROGRAMS)
list-check-data:
	@printf "%s\n" $(check_DATA)
.PHONY: list-tests list-test-programs list-check-data
EXTRA_DIST += %reldir%/lists

include tests/base/local.mk
include tests/image/local.mk
include tests/decoding/local.mk
include tests/checkpoint/local.mk
include tests/text/local.mk
include tests/diffusion/local.mk
include tests/kernels/local.mk
include tests/tensor/local.mk
include tests/model/local.mk
include tests/backend/local.mk
include tests/runtime/local.mk
include tests/standin/local.mk
include tests/engine/local.mk
include tests/cli/local.mk
include tests/wire/local.mk
include tests/webhook/local.mk
include tests/inputs/local.mk
include tests/store/local.mk
include tests/job/local.mk
include tests/api/local.mk
include tests/notifier/local.mk
include tests/http/local.mk
include tests/e2e/local.mk
include tests/ops/local.mk
include tests/recipe/local.mk
include tests/fuzz/local.mk
include tests/contract/local.mk
include tests/console/local.mk
include tests/long/local.mk
include tests/system/local.mk
include tests/lint/local.mk
