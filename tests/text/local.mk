check_PROGRAMS += tests/text/test_tokenizer
tests_text_test_tokenizer_SOURCES = %reldir%/test_tokenizer.c
tests_text_test_tokenizer_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS)
TESTS += tests/text/test_tokenizer

check_PROGRAMS += tests/text/test_prompt
tests_text_test_prompt_SOURCES = %reldir%/test_prompt.c
tests_text_test_prompt_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS)
TESTS += tests/text/test_prompt
