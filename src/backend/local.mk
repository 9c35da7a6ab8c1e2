# Dispatch, the list of backends and the backends are archives of their own, in the order in which
# they are linked: which backends there are is the program's choice.
noinst_LIBRARIES += libcnbackend.a libcnlist.a libcnreference.a
libcnbackend_a_SOURCES = %reldir%/backend.h %reldir%/backend_priv.h %reldir%/backend.c
libcnlist_a_SOURCES = %reldir%/list.c
libcnreference_a_SOURCES = \
    %reldir%/cpu/cpu_common.h \
    %reldir%/cpu/cpu_common.c \
    %reldir%/cpu/cpu_factors.h \
    %reldir%/cpu/cpu_factors.c \
    %reldir%/cpu/reference.c \
    %reldir%/cpu/reference_ops.c \
    %reldir%/cpu/reference_priv.h
