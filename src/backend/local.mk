noinst_LIBRARIES += libcnbackend.a
libcnbackend_a_SOURCES = \
    %reldir%/backend.h %reldir%/backend_priv.h %reldir%/backend.c \
    %reldir%/cpu/reference.c \
    %reldir%/cpu/reference_ops.c \
    %reldir%/cpu/reference_priv.h
