EXTRA_DIST += tests/data/image/golden.py tests/data/image/make_corpus.py \
    tests/data/fuzz/image tests/image/make_jpeg.c

check_PROGRAMS += tests/image/test_annotate
tests_image_test_annotate_SOURCES = %reldir%/test_annotate.c %reldir%/golden.h \
    %reldir%/picture.h %reldir%/picture.c
tests_image_test_annotate_LDADD = libcnimage.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/image/test_annotate

check_PROGRAMS += tests/image/test_resize
tests_image_test_resize_SOURCES = %reldir%/test_resize.c %reldir%/golden.h \
    %reldir%/picture.h %reldir%/picture.c
tests_image_test_resize_LDADD = libcnimage.a libcnbase.a $(CMOCKA_LIBS)
TESTS += tests/image/test_resize

check_PROGRAMS += tests/image/test_codec
tests_image_test_codec_SOURCES = %reldir%/test_codec.c %reldir%/corpus.h \
    %reldir%/picture.h %reldir%/picture.c
tests_image_test_codec_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_CORPUS='"$(srcdir)/tests/data/fuzz/image"'
tests_image_test_codec_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=posix_memalign -Wl,--wrap=realloc
tests_image_test_codec_LDADD = libcnimage.a libcnbase.a \
    $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS) $(CMOCKA_LIBS)
TESTS += tests/image/test_codec
