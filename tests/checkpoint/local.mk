# The models that tests write have the tensors that the networks want: that is known above.
checkpoint_libs = libcnruntime.a libcnmodel.a libcntensor.a libcncheckpoint.a libcnbase.a \
    $(JANSSON_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/checkpoint/test_safetensors
tests_checkpoint_test_safetensors_SOURCES = %reldir%/test_safetensors.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_safetensors_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_safetensors

check_PROGRAMS += tests/checkpoint/test_names
tests_checkpoint_test_names_SOURCES = %reldir%/test_names.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_names_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_names

check_PROGRAMS += tests/checkpoint/test_checkpoint
tests_checkpoint_test_checkpoint_SOURCES = %reldir%/test_checkpoint.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_checkpoint_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_checkpoint

check_PROGRAMS += tests/checkpoint/test_config
tests_checkpoint_test_config_SOURCES = %reldir%/test_config.c
tests_checkpoint_test_config_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_config

check_PROGRAMS += tests/checkpoint/test_models
tests_checkpoint_test_models_SOURCES = %reldir%/test_models.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_models_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_models

check_PROGRAMS += tests/checkpoint/test_sdxl
tests_checkpoint_test_sdxl_SOURCES = %reldir%/test_sdxl.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_sdxl_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_sdxl

check_PROGRAMS += tests/checkpoint/test_pickle
tests_checkpoint_test_pickle_SOURCES = %reldir%/test_pickle.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_pickle_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_pickle
EXTRA_DIST += tests/data/pickle

check_PROGRAMS += tests/checkpoint/test_classify
tests_checkpoint_test_classify_SOURCES = %reldir%/test_classify.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_classify_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_classify

check_PROGRAMS += tests/checkpoint/test_parts
tests_checkpoint_test_parts_SOURCES = %reldir%/test_parts.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_parts_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_parts

check_PROGRAMS += tests/checkpoint/test_sidecars
tests_checkpoint_test_sidecars_SOURCES = %reldir%/test_sidecars.c %reldir%/make.c %reldir%/make.h
tests_checkpoint_test_sidecars_LDADD = $(checkpoint_libs)
TESTS += tests/checkpoint/test_sidecars
