# Targets for libFuzzer, here with the driver of our own: see tests/fuzz/driver.c.
check_PROGRAMS += tests/fuzz/fuzz_image
tests_fuzz_fuzz_image_SOURCES = %reldir%/fuzz_image.c %reldir%/driver.c
tests_fuzz_fuzz_image_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/image"'
tests_fuzz_fuzz_image_LDADD = libcnimage.a libcnbase.a $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_image
