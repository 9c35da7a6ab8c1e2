check_PROGRAMS += tests/http/test_http tests/http/test_conf
tests_http_test_http_SOURCES = %reldir%/test_http.c
tests_http_test_http_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS)
tests_http_test_http_LDADD = libcnhttp.a libcnbase.a $(MHD_LIBS) $(CMOCKA_LIBS)
tests_http_test_conf_SOURCES = %reldir%/test_conf.c
tests_http_test_conf_LDADD = libcnconf.a libcnhttp.a libcnbase.a -linih $(CMOCKA_LIBS)
TESTS += tests/http/test_http tests/http/test_conf
