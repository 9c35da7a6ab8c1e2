check_PROGRAMS += tests/job/test_job
tests_job_test_job_SOURCES = %reldir%/test_job.c
tests_job_test_job_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_job_LDADD = libcnjob.a libcnwire.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_job

check_PROGRAMS += tests/job/test_jobs
tests_job_test_jobs_SOURCES = %reldir%/test_jobs.c %reldir%/jobs_rig.h %reldir%/jobs_rig.c
tests_job_test_jobs_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_job_test_jobs_LDADD = libcnjob.a $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/job/test_jobs
