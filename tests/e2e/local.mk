check_PROGRAMS += tests/e2e/fake-worker
tests_e2e_fake_worker_SOURCES = %reldir%/fake_worker.c
tests_e2e_fake_worker_LDADD = libcnworkerloop.a libcnwire.a libcnbase.a
