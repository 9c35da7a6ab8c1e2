job_test_libs = libcnjob.a libcnwire.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)

job_tests = tests/job/test_job tests/job/test_tenants tests/job/test_queue tests/job/test_fair \
    tests/job/test_dispatch tests/job/test_catalog tests/job/test_process
check_PROGRAMS += $(job_tests)
tests_job_test_job_SOURCES = %reldir%/test_job.c
tests_job_test_job_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_job_LDADD = $(job_test_libs)
tests_job_test_tenants_SOURCES = %reldir%/test_tenants.c
tests_job_test_tenants_LDADD = $(job_test_libs)
tests_job_test_queue_SOURCES = %reldir%/test_queue.c
tests_job_test_queue_LDADD = $(job_test_libs)
tests_job_test_fair_SOURCES = %reldir%/test_fair.c %reldir%/farm.h %reldir%/farm.c
tests_job_test_fair_LDADD = $(job_test_libs)
tests_job_test_process_SOURCES = %reldir%/test_process.c
tests_job_test_process_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_process_LDADD = $(job_test_libs)
tests_job_test_dispatch_SOURCES = %reldir%/test_dispatch.c %reldir%/rig.h %reldir%/rig.c
tests_job_test_dispatch_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_dispatch_LDADD = $(job_test_libs)
tests_job_test_catalog_SOURCES = %reldir%/test_catalog.c %reldir%/rig.h %reldir%/rig.c
tests_job_test_catalog_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_catalog_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=cn_now_ns
tests_job_test_catalog_LDADD = $(job_test_libs)
TESTS += $(job_tests)

check_PROGRAMS += tests/job/test_jobs
tests_job_test_jobs_SOURCES = %reldir%/test_jobs.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c \
    tests/store/fault.h tests/store/fault.c
tests_job_test_jobs_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS) -I$(top_srcdir)
tests_job_test_jobs_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=cn_wall_us
tests_job_test_jobs_LDADD = libcnjob.a $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_jobs

check_PROGRAMS += tests/job/test_lists
tests_job_test_lists_SOURCES = %reldir%/test_lists.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c \
    tests/store/fault.h tests/store/fault.c
tests_job_test_lists_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS) -I$(top_srcdir)
tests_job_test_lists_LDADD = libcnjob.a $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_lists

check_PROGRAMS += tests/job/test_damage
tests_job_test_damage_SOURCES = %reldir%/test_damage.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c
tests_job_test_damage_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_job_test_damage_LDADD = libcnjob.a $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_damage

check_PROGRAMS += tests/job/test_warnings
tests_job_test_warnings_SOURCES = %reldir%/test_warnings.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c
tests_job_test_warnings_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_warnings_LDADD = libcnjob.a $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_warnings

# Built and run by hand: make bench.
EXTRA_PROGRAMS += tests/job/bench_queue
tests_job_bench_queue_SOURCES = %reldir%/bench_queue.c
tests_job_bench_queue_LDADD = libcnjob.a libcnwire.a libcnbase.a $(LIBUV_LIBS)
CLEANFILES += tests/job/bench_queue tests/job/bench_jobs
EXTRA_PROGRAMS += tests/job/bench_jobs
tests_job_bench_jobs_SOURCES = %reldir%/bench_jobs.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c
tests_job_bench_jobs_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_bench_jobs_LDADD = libcnjob.a $(CNSTORE_LIBS)
bench-queue: tests/job/bench_queue
	./tests/job/bench_queue
bench-jobs: tests/job/bench_jobs tests/e2e/fake-worker
	./tests/job/bench_jobs
bench: bench-queue bench-jobs
.PHONY: bench-queue bench-jobs
