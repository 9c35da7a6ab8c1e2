# The oneDNN backend has an archive of its own, for its own optimisation flags.
if HAVE_ONEDNN
noinst_LIBRARIES += libcnonednn.a
endif
# Threading jumps through the clamp of cn_simd_exp() gives SiLU a second, masked division: a fifth of
# all time of a small model's steps instead of a ninth.
libcnonednn_a_CFLAGS = $(AM_CFLAGS) -ftree-vectorize -fvect-cost-model=dynamic \
    -fno-math-errno -fno-trapping-math -fno-thread-jumps
libcnonednn_a_SOURCES = \
    %reldir%/attention.c \
    %reldir%/kernels.h %reldir%/kernels.c %reldir%/kernels_flat.c \
    %reldir%/onednn.c %reldir%/onednn_ops.c %reldir%/onednn_places.c %reldir%/onednn_plan.c \
    %reldir%/onednn_low_rank.c %reldir%/onednn_primitive.c %reldir%/onednn_priv.h %reldir%/onednn_values.c \
    %reldir%/onednn_weights.c \
    %reldir%/onednn_status.c %reldir%/simd.h %reldir%/winograd.c \
    %reldir%/winograd_kernel.h %reldir%/winograd_kernel.c %reldir%/winograd_step.c
EXTRA_DIST += %reldir%/onednn.mk
if HAVE_ONEDNN
CNCPU_LIBS = libcnonednn.a libcnreference.a libcntensor.a libcnkref.a libcnbase.a $(DNNL_LIBS)
else
CNCPU_LIBS = libcnreference.a libcntensor.a libcnkref.a libcnbase.a
endif
CNBACKEND_LIBS = libcnbackend.a libcnlist.a $(CNCPU_LIBS)
