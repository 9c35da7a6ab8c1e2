check_PROGRAMS += tests/tensor/test_graph
tests_tensor_test_graph_SOURCES = %reldir%/test_graph.c
tests_tensor_test_graph_LDADD = libcntensor.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/tensor/test_graph
