# The CUDA backend: for programs of their own, and for the tests on a stand-in of NVIDIA's libraries
# (tests/standin). It is C; only kernels/cuda is C++.
EXTRA_DIST += %reldir%/cuda.mk
if CN_CUDA_STANDIN
noinst_LIBRARIES += libcncuda.a libcnlistcuda.a
endif
libcncuda_a_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CFLAGS)
libcncuda_a_SOURCES = \
    %reldir%/attention.c \
    %reldir%/buffer.c \
    %reldir%/conv.c \
    %reldir%/cuda.c %reldir%/cuda_priv.h \
    %reldir%/dnn.c \
    %reldir%/errors.c \
    %reldir%/forms.c \
    %reldir%/gemm.c \
    %reldir%/graphs.c \
    %reldir%/linear.c \
    %reldir%/lower.c \
    %reldir%/memory.c \
    %reldir%/ops.c \
    %reldir%/plan.c \
    %reldir%/queue.c \
    %reldir%/rearrange.c \
    %reldir%/run.c \
    %reldir%/transfer.c \
    %reldir%/tune.c \
    %reldir%/weights.c \
    %reldir%/window.c
libcnlistcuda_a_CPPFLAGS = $(AM_CPPFLAGS) -DCN_WITH_CUDA=1
libcnlistcuda_a_SOURCES = src/backend/list.c
# What a program with the CUDA backend links in place of CNBACKEND_LIBS.
CNCUDA_LIBS = libcnbackend.a libcnlistcuda.a libcncuda.a libcnkcuda.a $(CNCPU_LIBS) $(CUDA_LIBS)
