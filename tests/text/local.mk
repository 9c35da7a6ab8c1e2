check_PROGRAMS += tests/text/test_tokenizer
tests_text_test_tokenizer_SOURCES = %reldir%/test_tokenizer.c
tests_text_test_tokenizer_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS)
TESTS += tests/text/test_tokenizer
