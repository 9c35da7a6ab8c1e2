check_PROGRAMS += tests/wire/test_wire
tests_wire_test_wire_SOURCES = %reldir%/test_wire.c
tests_wire_test_wire_LDADD = libcnwire.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/wire/test_wire

check_PROGRAMS += tests/fuzz/fuzz_wire
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c tests/fuzz/driver.c
tests_fuzz_fuzz_wire_CPPFLAGS = $(AM_CPPFLAGS) -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/wire"'
tests_fuzz_fuzz_wire_LDADD = libcnwire.a libcnbase.a
TESTS += tests/fuzz/fuzz_wire
EXTRA_DIST += tests/data/fuzz/wire
