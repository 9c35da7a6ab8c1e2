EXTRA_DIST += tests/data/image/golden.py tests/data/image/golden_maps.py \
    tests/data/image/golden_picture.py tests/data/image/golden_webui.py tests/data/image/make_corpus.py \
    tests/data/fuzz/image tests/image/make_jpeg.c

cn_image_test_sources = %reldir%/picture.h %reldir%/picture.c \
    %reldir%/no_memory.h %reldir%/no_memory.c
cn_image_test_ldflags = $(AM_LDFLAGS) -Wl,--wrap=posix_memalign -Wl,--wrap=realloc
cn_image_test_libs = libcnimage.a libcnbase.a $(CMOCKA_LIBS)

check_PROGRAMS += tests/image/test_annotate
tests_image_test_annotate_SOURCES = %reldir%/test_annotate.c %reldir%/golden.h \
    $(cn_image_test_sources)
tests_image_test_annotate_LDFLAGS = $(cn_image_test_ldflags)
tests_image_test_annotate_LDADD = $(cn_image_test_libs)
TESTS += tests/image/test_annotate

check_PROGRAMS += tests/image/test_resize
tests_image_test_resize_SOURCES = %reldir%/test_resize.c %reldir%/golden.h \
    $(cn_image_test_sources)
tests_image_test_resize_LDFLAGS = $(cn_image_test_ldflags)
tests_image_test_resize_LDADD = $(cn_image_test_libs)
TESTS += tests/image/test_resize

check_PROGRAMS += tests/image/test_maps
tests_image_test_maps_SOURCES = %reldir%/test_maps.c %reldir%/golden_maps.h \
    $(cn_image_test_sources)
tests_image_test_maps_LDFLAGS = $(cn_image_test_ldflags)
tests_image_test_maps_LDADD = $(cn_image_test_libs)
TESTS += tests/image/test_maps

check_PROGRAMS += tests/image/test_webui
tests_image_test_webui_SOURCES = %reldir%/test_webui.c %reldir%/golden_webui.h \
    $(cn_image_test_sources)
tests_image_test_webui_LDFLAGS = $(cn_image_test_ldflags)
tests_image_test_webui_LDADD = $(cn_image_test_libs)
TESTS += tests/image/test_webui

check_PROGRAMS += tests/image/test_codec
tests_image_test_codec_SOURCES = %reldir%/test_codec.c %reldir%/corpus.h \
    $(cn_image_test_sources)
tests_image_test_codec_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_CORPUS='"$(srcdir)/tests/data/fuzz/image"'
tests_image_test_codec_LDFLAGS = $(cn_image_test_ldflags)
tests_image_test_codec_LDADD = $(cn_image_test_libs) $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/image/test_codec
