# Tests of kernels/cuda on the processor: see emu/emu.h. They need a C++ compiler and nothing of CUDA.
# libcnkemu.a has the launchers of kernels/cnk.h; programs that link it add $(cnkemu_libs).
cnkemu_headers = %reldir%/emu/emu.h %reldir%/emu/fiber.h %reldir%/emu/cuda_runtime.h \
    %reldir%/emu/cuda_fp16.h %reldir%/emu/cuda_bf16.h
cnkemu_sources = \
    %reldir%/emu/emu.cc %reldir%/emu/fiber.cc \
    %reldir%/emu/k_attention.cc \
    %reldir%/emu/k_elementwise.cc \
    %reldir%/emu/k_timestep.cc \
    %reldir%/emu/k_group_norm.cc \
    %reldir%/emu/k_layout.cc \
    %reldir%/emu/k_norm.cc \
    %reldir%/emu/k_resample.cc \
    %reldir%/emu/k_strided.cc \
    %reldir%/emu/k_window.cc
EXTRA_DIST += $(cnkemu_headers) $(cnkemu_sources)

if CN_CXX
check_LIBRARIES += libcnkemu.a
libcnkemu_a_SOURCES = $(cnkemu_headers) $(cnkemu_sources)
libcnkemu_a_CPPFLAGS = -I$(top_srcdir)/tests/kernels/emu $(AM_CPPFLAGS)
libcnkemu_a_CXXFLAGS = -std=gnu++17 $(CN_OPT) $(CN_SAN) $(CN_WARN_CXX)
cnkemu_libs = libcnkemu.a -lstdc++
endif

if CN_CXX
cnk_case_sources = %reldir%/case.h %reldir%/case.c
cnk_case_libs = $(cnkemu_libs) libcnkref.a libcnbase.a $(CMOCKA_LIBS)

check_PROGRAMS += tests/kernels/test_emu
tests_kernels_test_emu_SOURCES = %reldir%/test_emu.c $(cnk_case_sources)
tests_kernels_test_emu_LDADD = libcnkbad.a $(cnk_case_libs)
TESTS += tests/kernels/test_emu

check_LIBRARIES += libcnkbad.a
libcnkbad_a_SOURCES = %reldir%/bad_kernels.h %reldir%/bad_kernels.cc
libcnkbad_a_CPPFLAGS = $(libcnkemu_a_CPPFLAGS)
libcnkbad_a_CXXFLAGS = $(libcnkemu_a_CXXFLAGS)

check_PROGRAMS += tests/kernels/test_elementwise
tests_kernels_test_elementwise_SOURCES = %reldir%/test_elementwise.c $(cnk_case_sources)
tests_kernels_test_elementwise_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_elementwise

check_PROGRAMS += tests/kernels/test_moves
tests_kernels_test_moves_SOURCES = %reldir%/test_moves.c $(cnk_case_sources)
tests_kernels_test_moves_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_moves

check_PROGRAMS += tests/kernels/test_windows
tests_kernels_test_windows_SOURCES = %reldir%/test_windows.c $(cnk_case_sources)
tests_kernels_test_windows_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_windows

check_PROGRAMS += tests/kernels/test_strided
tests_kernels_test_strided_SOURCES = %reldir%/test_strided.c $(cnk_case_sources)
tests_kernels_test_strided_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_strided

check_PROGRAMS += tests/kernels/test_attention
tests_kernels_test_attention_SOURCES = %reldir%/test_attention.c $(cnk_case_sources)
tests_kernels_test_attention_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_attention

check_PROGRAMS += tests/kernels/test_norms
tests_kernels_test_norms_SOURCES = %reldir%/test_norms.c $(cnk_case_sources)
tests_kernels_test_norms_LDADD = $(cnk_case_libs)
TESTS += tests/kernels/test_norms
endif
