check_PROGRAMS += tests/notifier/test_notifier
tests_notifier_test_notifier_SOURCES = %reldir%/test_notifier.c \
    tests/webhook/receiver.h tests/webhook/receiver.c \
    tests/job/jobs_rig.h tests/job/jobs_rig.c tests/store/fault.h tests/store/fault.c
tests_notifier_test_notifier_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS) \
    -I$(top_srcdir) -I$(top_srcdir)/tests/job -I$(top_srcdir)/tests/webhook
tests_notifier_test_notifier_LDFLAGS = -Wl,--wrap=cn_jobs_webhooks
tests_notifier_test_notifier_LDADD = $(CNNOTIFIER_LIBS) libcnapi.a libcnjob.a $(CNSTORE_LIBS) \
    $(JANSSON_LIBS) $(CURL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/notifier/test_notifier
