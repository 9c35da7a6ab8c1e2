noinst_LIBRARIES += libcnkref.a
# Pointers are indexed with int64_t; and gcc 12 sees a size_t made double in an OpenMP collapse.
libcnkref_a_CFLAGS = $(AM_CFLAGS) -Wno-conversion -Wno-sign-conversion
libcnkref_a_SOURCES = \
    %reldir%/types.h %reldir%/cnk.h %reldir%/cnk_types.h \
    %reldir%/ref/cnk_ref.h %reldir%/ref/ref_priv.h \
    %reldir%/ref/act.c \
    %reldir%/ref/attention.c \
    %reldir%/ref/conv.c \
    %reldir%/ref/elementwise.c \
    %reldir%/ref/timestep.c \
    %reldir%/ref/layout.c \
    %reldir%/ref/linear.c \
    %reldir%/ref/low_rank.c \
    %reldir%/ref/matmul.c \
    %reldir%/ref/norm.c \
    %reldir%/ref/resample.c

include %reldir%/cuda/local.mk
