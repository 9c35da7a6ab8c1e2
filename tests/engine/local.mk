check_PROGRAMS += tests/engine/test_modules
tests_engine_test_modules_SOURCES = %reldir%/test_modules.c
tests_engine_test_modules_LDADD = $(CNENGINE_LIBS)
