check_PROGRAMS += tests/engine/test_modules tests/engine/test_images
tests_engine_test_modules_SOURCES = %reldir%/test_modules.c
tests_engine_test_modules_LDADD = $(CNENGINE_LIBS)
tests_engine_test_images_SOURCES = %reldir%/test_images.c
tests_engine_test_images_LDADD = $(CNENGINE_LIBS)
