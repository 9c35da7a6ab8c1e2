check_PROGRAMS += tests/decoding/bad-decoder
tests_decoding_bad_decoder_SOURCES = %reldir%/bad_decoder.c
tests_decoding_bad_decoder_LDADD = $(CNDECODER_LIBS)

check_PROGRAMS += tests/decoding/test_decoding
tests_decoding_test_decoding_SOURCES = %reldir%/test_decoding.c
tests_decoding_test_decoding_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_CORPUS='"$(srcdir)/tests/data/fuzz/image"'
tests_decoding_test_decoding_LDADD = libcndecoding.a libcnimage.a libcnbase.a $(SPNG_LIBS) \
    $(JPEG_LIBS) $(WEBP_LIBS) $(CMOCKA_LIBS)
TESTS += tests/decoding/test_decoding

check_PROGRAMS += tests/decoding/test_wall
tests_decoding_test_wall_SOURCES = %reldir%/test_wall.c
tests_decoding_test_wall_LDADD = libcndecoding.a libcnbase.a $(SECCOMP_LIBS) $(CMOCKA_LIBS)
TESTS += tests/decoding/test_wall

# What the wall costs.
EXTRA_PROGRAMS += tests/decoding/bench_decoding
tests_decoding_bench_decoding_SOURCES = %reldir%/bench_decoding.c
tests_decoding_bench_decoding_LDADD = libcndecoding.a libcnimage.a libcnbase.a $(SPNG_LIBS) \
    $(JPEG_LIBS) $(WEBP_LIBS)
bench-decoding: tests/decoding/bench_decoding tests/decoding/bad-decoder controlnet-decoder
	./tests/decoding/bench_decoding
CLEANFILES += tests/decoding/bench_decoding
bench: bench-decoding
.PHONY: bench-decoding
