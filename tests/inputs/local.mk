check_PROGRAMS += tests/inputs/test_inputs
tests_inputs_test_inputs_SOURCES = %reldir%/test_inputs.c
tests_inputs_test_inputs_LDADD = libcninputs.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/inputs/test_inputs
