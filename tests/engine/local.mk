check_PROGRAMS += tests/engine/test_modules tests/engine/test_images
tests_engine_test_modules_SOURCES = %reldir%/test_modules.c
tests_engine_test_modules_LDADD = $(CNENGINE_LIBS)
tests_engine_test_images_SOURCES = %reldir%/test_images.c
tests_engine_test_images_LDADD = $(CNENGINE_LIBS)

check_PROGRAMS += tests/engine/test_engine
tests_engine_test_engine_SOURCES = %reldir%/test_engine.c
tests_engine_test_engine_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_engine

# They take models and goldens as arguments: each script is one model.
engine_scripts = \
    tests/engine/modules-tiny.sh tests/engine/modules-tiny2.sh tests/engine/modules-tiny9.sh \
    tests/engine/modules-emoji.sh \
    tests/engine/images-tiny.sh tests/engine/images-tiny2.sh tests/engine/images-tiny9.sh \
    tests/engine/images-tinyxl.sh tests/engine/images-odd.sh \
    tests/engine/images-emoji.sh
dist_check_SCRIPTS += $(engine_scripts)
TESTS += $(engine_scripts)
EXTRA_DIST += tests/engine/golden.sh

check_PROGRAMS += tests/engine/test_lanes
tests_engine_test_lanes_SOURCES = %reldir%/test_lanes.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_lanes_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_lanes

check_PROGRAMS += tests/engine/test_residency
tests_engine_test_residency_SOURCES = \
    %reldir%/test_residency.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_residency_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_residency

check_PROGRAMS += tests/engine/test_rows
tests_engine_test_rows_SOURCES = %reldir%/test_rows.c
tests_engine_test_rows_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_rows

check_PROGRAMS += tests/engine/test_numbers
tests_engine_test_numbers_SOURCES = %reldir%/test_numbers.c
tests_engine_test_numbers_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_numbers

check_PROGRAMS += tests/engine/test_text
tests_engine_test_text_SOURCES = %reldir%/test_text.c tests/checkpoint/make.c
tests_engine_test_text_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_engine_test_text_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_text

check_PROGRAMS += tests/engine/test_annotators
tests_engine_test_annotators_SOURCES = \
    %reldir%/test_annotators.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_annotators_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_annotators

check_PROGRAMS += tests/engine/test_previews
tests_engine_test_previews_SOURCES = \
    %reldir%/test_previews.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_previews_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=cn_plan_for_decoder
tests_engine_test_previews_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_previews

check_PROGRAMS += tests/engine/test_bands
tests_engine_test_bands_SOURCES = %reldir%/test_bands.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_bands_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_bands

check_PROGRAMS += tests/engine/test_passes
tests_engine_test_passes_SOURCES = %reldir%/test_passes.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_passes_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_passes

check_PROGRAMS += tests/engine/test_vae
tests_engine_test_vae_SOURCES = %reldir%/test_vae.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_vae_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_vae

check_PROGRAMS += tests/engine/test_tiny_decoder
tests_engine_test_tiny_decoder_SOURCES = \
    %reldir%/test_tiny_decoder.c %reldir%/crowd.h %reldir%/crowd.c
tests_engine_test_tiny_decoder_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_tiny_decoder

check_PROGRAMS += tests/engine/test_adapters
tests_engine_test_adapters_SOURCES = %reldir%/test_adapters.c %reldir%/crowd.h %reldir%/crowd.c \
    %reldir%/lora.h %reldir%/lora.c tests/checkpoint/make.c
tests_engine_test_adapters_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/checkpoint
tests_engine_test_adapters_LDADD = $(CNENGINE_LIBS) $(CMOCKA_LIBS)
TESTS += tests/engine/test_adapters
