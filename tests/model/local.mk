# tests/model

check_PROGRAMS += tests/model/test_expect
tests_model_test_expect_SOURCES = %reldir%/test_expect.c tests/checkpoint/make.c
tests_model_test_expect_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_model_test_expect_LDADD = libcnmodel.a libcntensor.a libcncheckpoint.a libcnbase.a \
    $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/model/test_expect
