check_PROGRAMS += tests/base/test_base
tests_base_test_base_SOURCES = %reldir%/test_base.c
tests_base_test_base_LDADD = libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/base/test_base

check_PROGRAMS += tests/base/test_text
tests_base_test_text_SOURCES = %reldir%/test_text.c
tests_base_test_text_LDADD = libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/base/test_text

check_PROGRAMS += tests/base/test_warnings
tests_base_test_warnings_SOURCES = %reldir%/test_warnings.c
tests_base_test_warnings_LDADD = libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/base/test_warnings

check_PROGRAMS += tests/base/test_places
tests_base_test_places_SOURCES = %reldir%/test_places.c
tests_base_test_places_LDADD = libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/base/test_places

check_PROGRAMS += tests/base/test_json
tests_base_test_json_SOURCES = %reldir%/test_json.c
tests_base_test_json_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_base_test_json_LDADD = libcnbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/base/test_json
