check_PROGRAMS += tests/e2e/fake-worker
tests_e2e_fake_worker_SOURCES = %reldir%/fake_worker.c
tests_e2e_fake_worker_LDADD = libcnworkerloop.a libcnwire.a libcnbase.a

EXTRA_DIST += %reldir%/run.sh %reldir%/cn_e2e.py %reldir%/cn_socket.py %reldir%/cn_load.py

# NAME.sh runs test_NAME.py.
dist_check_SCRIPTS += %reldir%/http.sh
EXTRA_DIST += %reldir%/test_http.py
TESTS += tests/e2e/http.sh

dist_check_SCRIPTS += %reldir%/smuggling.sh
EXTRA_DIST += %reldir%/test_smuggling.py
TESTS += tests/e2e/smuggling.sh

dist_check_SCRIPTS += %reldir%/life.sh
EXTRA_DIST += %reldir%/test_life.py
TESTS += tests/e2e/life.sh

# Loaded into the daemon, to make its disk bad.
check_DATA += %reldir%/bad_disk.so
EXTRA_DIST += %reldir%/bad_disk.c
CLEANFILES += %reldir%/bad_disk.so
tests/e2e/bad_disk.so: $(srcdir)/tests/e2e/bad_disk.c
	$(AM_V_CC)$(MKDIR_P) tests/e2e && $(CC) -Wall -Wextra -O1 -fPIC -shared -o $@ \
	    $(srcdir)/tests/e2e/bad_disk.c

# The same, to make its memory short.
check_DATA += %reldir%/bad_memory.so
EXTRA_DIST += %reldir%/bad_memory.c
CLEANFILES += %reldir%/bad_memory.so
tests/e2e/bad_memory.so: $(srcdir)/tests/e2e/bad_memory.c
	$(AM_V_CC)$(MKDIR_P) tests/e2e && $(CC) -Wall -Wextra -O1 -fPIC -shared -o $@ \
	    $(srcdir)/tests/e2e/bad_memory.c

# The same, to have its clock jump.
check_DATA += %reldir%/bad_clock.so
EXTRA_DIST += %reldir%/bad_clock.c
CLEANFILES += %reldir%/bad_clock.so
tests/e2e/bad_clock.so: $(srcdir)/tests/e2e/bad_clock.c
	$(AM_V_CC)$(MKDIR_P) tests/e2e && $(CC) -Wall -Wextra -O1 -fPIC -shared -o $@ \
	    $(srcdir)/tests/e2e/bad_clock.c

dist_check_SCRIPTS += %reldir%/clock.sh
EXTRA_DIST += %reldir%/test_clock.py
TESTS += tests/e2e/clock.sh

dist_check_SCRIPTS += %reldir%/memory.sh
EXTRA_DIST += %reldir%/test_memory.py %reldir%/cn_memory.py
TESTS += tests/e2e/memory.sh

dist_check_SCRIPTS += %reldir%/worker_memory.sh
EXTRA_DIST += %reldir%/test_worker_memory.py
TESTS += tests/e2e/worker_memory.sh

dist_check_SCRIPTS += %reldir%/shutdown.sh
EXTRA_DIST += %reldir%/test_shutdown.py
TESTS += tests/e2e/shutdown.sh

dist_check_SCRIPTS += %reldir%/locked.sh
EXTRA_DIST += %reldir%/test_locked.py
TESTS += tests/e2e/locked.sh

dist_check_SCRIPTS += %reldir%/readers.sh
EXTRA_DIST += %reldir%/test_readers.py
TESTS += tests/e2e/readers.sh

dist_check_SCRIPTS += %reldir%/load.sh
EXTRA_DIST += %reldir%/test_load.py
TESTS += tests/e2e/load.sh

dist_check_SCRIPTS += %reldir%/engine.sh
EXTRA_DIST += %reldir%/test_engine.py
TESTS += tests/e2e/engine.sh

dist_check_SCRIPTS += %reldir%/refresh.sh
EXTRA_DIST += %reldir%/test_refresh.py
TESTS += tests/e2e/refresh.sh

dist_check_SCRIPTS += %reldir%/decoder.sh
EXTRA_DIST += %reldir%/test_decoder.py
TESTS += tests/e2e/decoder.sh

dist_check_SCRIPTS += %reldir%/hostile.sh
EXTRA_DIST += %reldir%/test_hostile.py
TESTS += tests/e2e/hostile.sh

dist_check_SCRIPTS += %reldir%/properties.sh
EXTRA_DIST += %reldir%/test_properties.py
TESTS += tests/e2e/properties.sh

dist_check_SCRIPTS += %reldir%/reload.sh
EXTRA_DIST += %reldir%/test_reload.py
TESTS += tests/e2e/reload.sh

dist_check_SCRIPTS += %reldir%/restart.sh
EXTRA_DIST += %reldir%/test_restart.py
TESTS += tests/e2e/restart.sh

dist_check_SCRIPTS += %reldir%/metrics.sh
EXTRA_DIST += %reldir%/test_metrics.py
TESTS += tests/e2e/metrics.sh

dist_check_SCRIPTS += %reldir%/log.sh
EXTRA_DIST += %reldir%/test_log.py
TESTS += tests/e2e/log.sh

dist_check_SCRIPTS += %reldir%/jobs.sh
EXTRA_DIST += %reldir%/test_jobs.py
TESTS += tests/e2e/jobs.sh

dist_check_SCRIPTS += %reldir%/streams.sh
EXTRA_DIST += %reldir%/test_streams.py
TESTS += tests/e2e/streams.sh

dist_check_SCRIPTS += %reldir%/keys.sh
EXTRA_DIST += %reldir%/test_keys.py
TESTS += tests/e2e/keys.sh

dist_check_SCRIPTS += %reldir%/pictures.sh
EXTRA_DIST += %reldir%/test_pictures.py
TESTS += tests/e2e/pictures.sh

dist_check_SCRIPTS += %reldir%/annotate.sh
EXTRA_DIST += %reldir%/test_annotate.py
TESTS += tests/e2e/annotate.sh

dist_check_SCRIPTS += %reldir%/inputs.sh
EXTRA_DIST += %reldir%/test_inputs.py
TESTS += tests/e2e/inputs.sh
dist_check_SCRIPTS += %reldir%/queue.sh
EXTRA_DIST += %reldir%/test_queue.py
TESTS += tests/e2e/queue.sh

dist_check_SCRIPTS += %reldir%/kill.sh
EXTRA_DIST += %reldir%/test_kill.py
TESTS += tests/e2e/kill.sh

dist_check_SCRIPTS += %reldir%/soak.sh
EXTRA_DIST += %reldir%/test_soak.py
TESTS += tests/e2e/soak.sh

dist_check_SCRIPTS += %reldir%/closed.sh
EXTRA_DIST += %reldir%/test_closed.py
TESTS += tests/e2e/closed.sh

check_PROGRAMS += tests/e2e/list-routes
tests_e2e_list_routes_SOURCES = %reldir%/list_routes.c
tests_e2e_list_routes_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(LIBUV_CFLAGS)
tests_e2e_list_routes_LDADD = $(tests_http_test_routes_LDADD)

dist_check_SCRIPTS += %reldir%/proxy.sh
EXTRA_DIST += %reldir%/test_proxy.py
TESTS += tests/e2e/proxy.sh

dist_check_SCRIPTS += %reldir%/webhooks.sh
EXTRA_DIST += %reldir%/test_webhooks.py
TESTS += tests/e2e/webhooks.sh

# What was installed works at once, also in a prefix of its own. Not in a DESTDIR: there nothing is.
EXTRA_DIST += %reldir%/installed.py
installcheck-local:
	@test -n '$(DESTDIR)' || python3 $(srcdir)/tests/e2e/installed.py '$(sbindir)/controlnetd' \
	    '$(localstatedir)/lib/controlnetd' || test $$? = 77

dist_check_SCRIPTS += %reldir%/worker_options.sh
EXTRA_DIST += %reldir%/test_worker_options.py
TESTS += tests/e2e/worker_options.sh

dist_check_SCRIPTS += %reldir%/a1111.sh
EXTRA_DIST += %reldir%/test_a1111.py
TESTS += tests/e2e/a1111.sh

dist_check_SCRIPTS += %reldir%/openai.sh
EXTRA_DIST += %reldir%/test_openai.py
TESTS += tests/e2e/openai.sh

dist_check_SCRIPTS += %reldir%/console.sh
EXTRA_DIST += %reldir%/test_console.py
TESTS += tests/e2e/console.sh
