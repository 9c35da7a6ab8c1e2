CNSTORE_LIBS = libcnstore.a libcnwire.a libcnbase.a $(LIBUV_LIBS) $(SQLITE_LIBS)

check_PROGRAMS += tests/store/test_store
tests_store_test_store_SOURCES = %reldir%/test_store.c %reldir%/rig.h %reldir%/rig.c
tests_store_test_store_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_store_LDADD = $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/store/test_store
