webhook_tests = tests/webhook/test_rules tests/webhook/test_sender
check_PROGRAMS += $(webhook_tests)
tests_webhook_test_rules_SOURCES = %reldir%/test_rules.c
tests_webhook_test_rules_LDADD = libcnwebhook.a libcnbase.a $(CURL_LIBS) $(CMOCKA_LIBS)
tests_webhook_test_sender_SOURCES = %reldir%/test_sender.c %reldir%/receiver.h %reldir%/receiver.c
tests_webhook_test_sender_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_webhook_test_sender_LDADD = libcnwebhook.a libcnbase.a $(CURL_LIBS) $(LIBUV_LIBS) $(CMOCKA_LIBS)
TESTS += $(webhook_tests)
