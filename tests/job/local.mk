job_test_libs = libcnjob.a libcnwire.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/job/test_job tests/job/test_tenants tests/job/test_queue tests/job/test_fair
tests_job_test_job_SOURCES = %reldir%/test_job.c
tests_job_test_job_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_job_LDADD = $(job_test_libs)
tests_job_test_tenants_SOURCES = %reldir%/test_tenants.c
tests_job_test_tenants_LDADD = $(job_test_libs)
tests_job_test_queue_SOURCES = %reldir%/test_queue.c
tests_job_test_queue_LDADD = $(job_test_libs)
tests_job_test_fair_SOURCES = %reldir%/test_fair.c %reldir%/farm.h %reldir%/farm.c
tests_job_test_fair_LDADD = $(job_test_libs)
TESTS += tests/job/test_job tests/job/test_tenants tests/job/test_queue tests/job/test_fair

# Built and run by hand: make bench.
EXTRA_PROGRAMS += tests/job/bench_queue
tests_job_bench_queue_SOURCES = %reldir%/bench_queue.c
tests_job_bench_queue_LDADD = libcnjob.a libcnwire.a libcnbase.a $(LIBUV_LIBS)
CLEANFILES += tests/job/bench_queue
bench-queue: tests/job/bench_queue
	./tests/job/bench_queue
bench: bench-queue
.PHONY: bench-queue
