check_PROGRAMS += tests/http/test_http tests/http/test_conf
tests_http_test_http_SOURCES = %reldir%/test_http.c
tests_http_test_http_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS)
tests_http_test_http_LDADD = libcnhttpserver.a libcnhttpauth.a libcnhttpcore.a libcnapi.a libcnbase.a $(MHD_LIBS) $(CMOCKA_LIBS)
tests_http_test_conf_SOURCES = %reldir%/test_conf.c
tests_http_test_conf_LDADD = libcnconf.a libcnhttpserver.a libcnhttpauth.a libcnwebhook.a libcnbase.a \
    $(CURL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/http/test_http tests/http/test_conf

check_PROGRAMS += tests/fuzz/fuzz_multipart
tests_fuzz_fuzz_multipart_SOURCES = tests/fuzz/fuzz_multipart.c tests/fuzz/driver.c
tests_fuzz_fuzz_multipart_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/multipart"'
tests_fuzz_fuzz_multipart_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a
TESTS += tests/fuzz/fuzz_multipart

check_PROGRAMS += tests/fuzz/fuzz_fields
tests_fuzz_fuzz_fields_SOURCES = tests/fuzz/fuzz_fields.c tests/fuzz/driver.c
tests_fuzz_fuzz_fields_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/fields"'
tests_fuzz_fuzz_fields_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a
TESTS += tests/fuzz/fuzz_fields
EXTRA_DIST += tests/data/fuzz/fields

check_PROGRAMS += tests/http/test_routes
tests_http_test_routes_SOURCES = %reldir%/test_routes.c
tests_http_test_routes_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(LIBUV_CFLAGS)
tests_http_test_routes_LDADD = $(CNHTTP_LIBS) $(CNNOTIFIER_LIBS) libcnapi.a libcninputs.a libcnimage.a libcnjob.a libcnstore.a \
    libcnwire.a libcnbase.a $(MHD_LIBS) $(LIBUV_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/http/test_routes
EXTRA_DIST += tests/data/fuzz/multipart

check_PROGRAMS += tests/http/test_site
tests_http_test_site_SOURCES = %reldir%/test_site.c
tests_http_test_site_LDADD = libcnhttpauth.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/http/test_site

check_PROGRAMS += tests/http/test_guard
tests_http_test_guard_SOURCES = %reldir%/test_guard.c
tests_http_test_guard_LDADD = libcnhttpauth.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/http/test_guard

check_PROGRAMS += tests/http/test_scan
tests_http_test_scan_SOURCES = %reldir%/test_scan.c
tests_http_test_scan_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/http/test_scan

check_PROGRAMS += tests/http/test_source tests/http/test_exchange
tests_http_test_source_SOURCES = %reldir%/test_source.c
tests_http_test_source_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_http_test_source_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)
tests_http_test_exchange_SOURCES = %reldir%/test_exchange.c
tests_http_test_exchange_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_http_test_exchange_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)
TESTS += tests/http/test_source tests/http/test_exchange

check_PROGRAMS += tests/http/test_hangup
tests_http_test_hangup_SOURCES = %reldir%/test_hangup.c
tests_http_test_hangup_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
tests_http_test_hangup_LDADD = libcnhttpcore.a libcnbase.a $(LIBUV_LIBS) $(CMOCKA_LIBS)
TESTS += tests/http/test_hangup

check_PROGRAMS += tests/fuzz/fuzz_scan
tests_fuzz_fuzz_scan_SOURCES = tests/fuzz/fuzz_scan.c tests/fuzz/driver.c
tests_fuzz_fuzz_scan_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/scan"'
tests_fuzz_fuzz_scan_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a
TESTS += tests/fuzz/fuzz_scan
EXTRA_DIST += tests/data/fuzz/scan
