check_PROGRAMS += tests/e2e/fake-worker
tests_e2e_fake_worker_SOURCES = %reldir%/fake_worker.c
tests_e2e_fake_worker_LDADD = libcnworkerloop.a libcnwire.a libcnbase.a

dist_check_SCRIPTS += %reldir%/http.sh %reldir%/smuggling.sh %reldir%/life.sh %reldir%/load.sh \
    %reldir%/engine.sh %reldir%/reload.sh %reldir%/restart.sh %reldir%/metrics.sh
EXTRA_DIST += %reldir%/run.sh %reldir%/cn_e2e.py %reldir%/test_http.py %reldir%/test_smuggling.py \
    %reldir%/test_life.py %reldir%/test_load.py %reldir%/test_engine.py \
    %reldir%/test_reload.py %reldir%/cn_socket.py %reldir%/test_restart.py \
    %reldir%/test_metrics.py
TESTS += tests/e2e/http.sh tests/e2e/smuggling.sh tests/e2e/life.sh tests/e2e/load.sh tests/e2e/engine.sh \
    tests/e2e/reload.sh tests/e2e/restart.sh tests/e2e/metrics.sh
