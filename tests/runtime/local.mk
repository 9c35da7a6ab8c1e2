# tests/runtime

check_PROGRAMS += tests/runtime/test_model
tests_runtime_test_model_SOURCES = %reldir%/test_model.c tests/checkpoint/make.c
tests_runtime_test_model_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_runtime_test_model_LDADD = libcnruntime.a libcnmodel.a libcncheckpoint.a libcntext.a \
    $(CNBACKEND_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS) $(OPENMP_CFLAGS)
TESTS += tests/runtime/test_model

check_PROGRAMS += tests/runtime/test_embeddings
tests_runtime_test_embeddings_SOURCES = %reldir%/test_embeddings.c tests/checkpoint/make.c
tests_runtime_test_embeddings_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_runtime_test_embeddings_LDADD = libcnruntime.a libcnmodel.a libcncheckpoint.a libcntext.a \
    $(CNBACKEND_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS) $(OPENMP_CFLAGS)
TESTS += tests/runtime/test_embeddings

check_PROGRAMS += tests/runtime/test_refresh
tests_runtime_test_refresh_SOURCES = %reldir%/test_refresh.c tests/checkpoint/make.c
tests_runtime_test_refresh_CPPFLAGS = $(tests_runtime_test_model_CPPFLAGS)
tests_runtime_test_refresh_LDADD = $(tests_runtime_test_model_LDADD)
TESTS += tests/runtime/test_refresh

check_PROGRAMS += tests/runtime/test_find
tests_runtime_test_find_SOURCES = %reldir%/test_find.c tests/checkpoint/make.c
tests_runtime_test_find_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_runtime_test_find_LDADD = libcnruntime.a libcnmodel.a libcncheckpoint.a libcntext.a \
    $(CNBACKEND_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS) $(OPENMP_CFLAGS)
TESTS += tests/runtime/test_find

check_PROGRAMS += tests/runtime/test_adapters
tests_runtime_test_adapters_SOURCES = %reldir%/test_adapters.c tests/checkpoint/make.c
tests_runtime_test_adapters_CPPFLAGS = $(tests_runtime_test_model_CPPFLAGS)
tests_runtime_test_adapters_LDADD = $(tests_runtime_test_model_LDADD)
TESTS += tests/runtime/test_adapters
