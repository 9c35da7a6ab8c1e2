EXTRA_DIST += tests/data/image/golden.py

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
