diffusion_tests = tests/diffusion/test_noise tests/diffusion/test_variation tests/diffusion/test_schedule \
    tests/diffusion/test_class tests/diffusion/test_sampler tests/diffusion/test_control \
    tests/diffusion/test_kd tests/diffusion/test_golden
check_PROGRAMS += $(diffusion_tests)
TESTS += $(diffusion_tests)
tests_diffusion_test_noise_SOURCES = %reldir%/test_noise.c
tests_diffusion_test_noise_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_variation_SOURCES = %reldir%/test_variation.c
tests_diffusion_test_variation_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_schedule_SOURCES = %reldir%/test_schedule.c
tests_diffusion_test_schedule_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_class_SOURCES = %reldir%/test_class.c
tests_diffusion_test_class_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_sampler_SOURCES = %reldir%/test_sampler.c
tests_diffusion_test_sampler_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_kd_SOURCES = %reldir%/test_kd.c
tests_diffusion_test_kd_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
tests_diffusion_test_control_SOURCES = %reldir%/test_control.c
tests_diffusion_test_control_LDADD = libcndiffusion.a libcnbase.a $(CMOCKA_LIBS)
# Against torch and diffusers; skips where tests/data/golden is absent.
tests_diffusion_test_golden_SOURCES = %reldir%/test_golden.c %reldir%/golden.c %reldir%/golden.h
tests_diffusion_test_golden_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_diffusion_test_golden_LDADD = libcndiffusion.a libcncheckpoint.a libcnbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
