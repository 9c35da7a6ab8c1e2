check_PROGRAMS += tests/api/test_api
tests_api_test_api_SOURCES = %reldir%/test_api.c
tests_api_test_api_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS)
tests_api_test_api_LDADD = libcnapi.a libcnjob.a $(CNSTORE_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/api/test_api

check_PROGRAMS += tests/api/test_a1111
tests_api_test_a1111_SOURCES = %reldir%/test_a1111.c
tests_api_test_a1111_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS)
tests_api_test_a1111_LDADD = libcnapi.a libcnjob.a $(CNSTORE_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/api/test_a1111

check_PROGRAMS += tests/fuzz/fuzz_request
tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c tests/fuzz/driver.c
tests_fuzz_fuzz_request_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/request"'
tests_fuzz_fuzz_request_LDADD = libcnapi.a libcnwire.a libcnbase.a $(JANSSON_LIBS)
TESTS += tests/fuzz/fuzz_request
EXTRA_DIST += tests/data/fuzz/request

check_PROGRAMS += tests/api/test_torture
tests_api_test_torture_SOURCES = tests/api/test_torture.c
tests_api_test_torture_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS)
tests_api_test_torture_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_api_test_torture_LDADD = libcnapi.a libcnjob.a libcnstore.a libcnwire.a libcnbase.a $(JANSSON_LIBS) \
    $(LIBUV_LIBS) $(CMOCKA_LIBS)
TESTS += tests/api/test_torture
