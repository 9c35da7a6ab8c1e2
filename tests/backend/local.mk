op_table_sources = %reldir%/op_run.h %reldir%/op_run.c %reldir%/op_cases.h %reldir%/op_cases.c \
    %reldir%/op_builders.c
op_table_libs = $(CNBACKEND_LIBS) $(CMOCKA_LIBS) $(DNNL_LIBS)

check_PROGRAMS += tests/backend/test_ops
tests_backend_test_ops_SOURCES = %reldir%/test_ops.c $(op_table_sources)
tests_backend_test_ops_LDADD = $(op_table_libs)
TESTS += tests/backend/test_ops

check_PROGRAMS += tests/backend/test_naive
tests_backend_test_naive_SOURCES = %reldir%/test_naive.c $(op_table_sources)
tests_backend_test_naive_LDADD = $(op_table_libs)
TESTS += tests/backend/test_naive

check_PROGRAMS += tests/backend/test_plans
tests_backend_test_plans_SOURCES = %reldir%/test_plans.c $(op_table_sources)
tests_backend_test_plans_LDADD = $(op_table_libs)
TESTS += tests/backend/test_plans

check_PROGRAMS += tests/backend/test_side
tests_backend_test_side_SOURCES = %reldir%/test_side.c $(op_table_sources)
tests_backend_test_side_LDADD = $(op_table_libs)
TESTS += tests/backend/test_side

check_PROGRAMS += tests/backend/test_views
tests_backend_test_views_SOURCES = %reldir%/test_views.c $(op_table_sources)
tests_backend_test_views_LDADD = $(op_table_libs)
TESTS += tests/backend/test_views

check_PROGRAMS += tests/backend/test_low_rank
tests_backend_test_low_rank_SOURCES = %reldir%/test_low_rank.c $(op_table_sources)
tests_backend_test_low_rank_LDADD = $(op_table_libs)
TESTS += tests/backend/test_low_rank

if HAVE_ONEDNN
check_PROGRAMS += tests/backend/test_sgemm
tests_backend_test_sgemm_SOURCES = %reldir%/test_sgemm.c $(op_table_sources)
tests_backend_test_sgemm_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=dnnl_sgemm
tests_backend_test_sgemm_LDADD = $(op_table_libs)
TESTS += tests/backend/test_sgemm

check_PROGRAMS += tests/backend/test_winograd
tests_backend_test_winograd_SOURCES = %reldir%/test_winograd.c
tests_backend_test_winograd_LDADD = libcnonednn.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/backend/test_winograd
endif

check_PROGRAMS += tests/backend/test_rules
tests_backend_test_rules_SOURCES = %reldir%/test_rules.c $(op_table_sources)
tests_backend_test_rules_LDADD = $(op_table_libs)
TESTS += tests/backend/test_rules

check_PROGRAMS += tests/backend/test_types
tests_backend_test_types_SOURCES = %reldir%/test_types.c $(op_table_sources)
tests_backend_test_types_LDADD = $(op_table_libs)
TESTS += tests/backend/test_types

check_PROGRAMS += tests/backend/test_weights
tests_backend_test_weights_SOURCES = %reldir%/test_weights.c $(op_table_sources)
tests_backend_test_weights_LDADD = $(op_table_libs)
TESTS += tests/backend/test_weights

# Built and run by hand: make tests/backend/bench_ops; make bench.
EXTRA_PROGRAMS += tests/backend/bench_ops
tests_backend_bench_ops_SOURCES = %reldir%/bench_ops.c $(op_table_sources)
tests_backend_bench_ops_LDADD = $(op_table_libs)
CLEANFILES += tests/backend/bench_ops
bench: tests/backend/bench_ops
	./tests/backend/bench_ops $(BENCHFLAGS)
.PHONY: bench
