check_PROGRAMS += tests/wire/test_wire
tests_wire_test_wire_SOURCES = %reldir%/test_wire.c
tests_wire_test_wire_LDADD = libcnwire.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/wire/test_wire
