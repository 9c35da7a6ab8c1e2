check_PROGRAMS += tests/base/test_base
tests_base_test_base_SOURCES = %reldir%/test_base.c
tests_base_test_base_LDADD = libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/base/test_base
