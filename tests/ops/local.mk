dist_check_SCRIPTS += %reldir%/units.sh %reldir%/rules.sh %reldir%/contract.sh \
    %reldir%/hardened.sh %reldir%/version.sh
EXTRA_DIST += %reldir%/alerts_test.yml
TESTS += tests/ops/units.sh tests/ops/rules.sh tests/ops/contract.sh tests/ops/hardened.sh tests/ops/version.sh

# What units.sh runs the decoder below.
check_PROGRAMS += tests/ops/under-filter
tests_ops_under_filter_SOURCES = %reldir%/under_filter.c
tests_ops_under_filter_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
tests_ops_under_filter_LDADD = $(SECCOMP_LIBS)
EXTRA_DIST += %reldir%/unit_calls.py %reldir%/hardened.py
