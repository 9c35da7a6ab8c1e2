check_PROGRAMS += tests/e2e/fake-worker
tests_e2e_fake_worker_SOURCES = %reldir%/fake_worker.c
tests_e2e_fake_worker_LDADD = libcnworkerloop.a libcnwire.a libcnbase.a

# One a line: several people add to it.
e2e_tests = \
    %reldir%/http.sh \
    %reldir%/smuggling.sh \
    %reldir%/life.sh \
    %reldir%/load.sh \
    %reldir%/jobs.sh \
    %reldir%/keys.sh \
    %reldir%/streams.sh \
    %reldir%/engine.sh \
    %reldir%/reload.sh \
    %reldir%/restart.sh \
    %reldir%/metrics.sh \
    %reldir%/log.sh \
    %reldir%/soak.sh
dist_check_SCRIPTS += $(e2e_tests)
TESTS += $(e2e_tests)

EXTRA_DIST += \
    %reldir%/run.sh \
    %reldir%/cn_e2e.py \
    %reldir%/cn_load.py \
    %reldir%/cn_socket.py \
    %reldir%/test_http.py \
    %reldir%/test_smuggling.py \
    %reldir%/test_life.py \
    %reldir%/test_load.py \
    %reldir%/test_jobs.py \
    %reldir%/test_keys.py \
    %reldir%/test_streams.py \
    %reldir%/test_engine.py \
    %reldir%/test_reload.py \
    %reldir%/test_restart.py \
    %reldir%/test_metrics.py \
    %reldir%/test_log.py \
    %reldir%/test_soak.py
