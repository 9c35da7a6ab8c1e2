CNSTORE_LIBS = libcnstore.a libcnwire.a libcnbase.a $(LIBUV_LIBS) $(SQLITE_LIBS)

check_PROGRAMS += tests/store/test_store
tests_store_test_store_SOURCES = %reldir%/test_store.c %reldir%/rig.h %reldir%/rig.c
tests_store_test_store_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_store_LDADD = $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/store/test_store

check_PROGRAMS += tests/store/test_damage
tests_store_test_damage_SOURCES = %reldir%/test_damage.c %reldir%/rig.h %reldir%/rig.c
tests_store_test_damage_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_damage_LDADD = $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/store/test_damage

check_PROGRAMS += tests/store/test_webhooks
tests_store_test_webhooks_SOURCES = %reldir%/test_webhooks.c %reldir%/fault.h %reldir%/fault.c \
    %reldir%/rig.h %reldir%/rig.c
tests_store_test_webhooks_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_webhooks_LDADD = $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/store/test_webhooks

check_PROGRAMS += tests/store/test_faults
tests_store_test_faults_SOURCES = %reldir%/test_faults.c %reldir%/fault.h %reldir%/fault.c \
    %reldir%/rig.h %reldir%/rig.c
tests_store_test_faults_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_faults_LDADD = $(CNSTORE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/store/test_faults

check_PROGRAMS += tests/store/test_crash
tests_store_test_crash_SOURCES = %reldir%/test_crash.c %reldir%/rig.h %reldir%/rig.c
tests_store_test_crash_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_crash_LDADD = $(CNSTORE_LIBS)
TESTS += tests/store/test_crash

check_PROGRAMS += tests/store/test_power
tests_store_test_power_SOURCES = %reldir%/test_power.c %reldir%/fault.h %reldir%/fault.c \
    %reldir%/rig.h %reldir%/rig.c
tests_store_test_power_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
tests_store_test_power_LDADD = $(CNSTORE_LIBS)
TESTS += tests/store/test_power
