check_PROGRAMS += tests/cli/make_models
tests_cli_make_models_SOURCES = %reldir%/make_models.c
tests_cli_make_models_LDADD = libcncheckpoint.a libcnbase.a $(JANSSON_LIBS)

cli_tests = %reldir%/options.sh %reldir%/generate.sh %reldir%/inspect.sh %reldir%/forms.sh
dist_check_SCRIPTS += $(cli_tests)
EXTRA_DIST += %reldir%/run.sh %reldir%/cn_cli.py %reldir%/cn_torch.py %reldir%/test_options.py \
    %reldir%/test_generate.py %reldir%/test_inspect.py %reldir%/test_forms.py
TESTS += $(cli_tests)

