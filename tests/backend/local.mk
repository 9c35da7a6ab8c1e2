op_table_sources = %reldir%/op_run.h %reldir%/op_run.c %reldir%/op_cases.h %reldir%/op_cases.c
op_table_libs = libcnbackend.a libcntensor.a libcnkref.a libcnbase.a $(CMOCKA_LIBS) $(DNNL_LIBS)

check_PROGRAMS += tests/backend/test_ops
tests_backend_test_ops_SOURCES = %reldir%/test_ops.c $(op_table_sources)
tests_backend_test_ops_LDADD = $(op_table_libs)
TESTS += tests/backend/test_ops
