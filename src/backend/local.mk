noinst_LIBRARIES += libcnbackend.a
libcnbackend_a_SOURCES = \
    %reldir%/backend.h %reldir%/backend_priv.h %reldir%/backend.c \
    %reldir%/cpu/reference.c \
    %reldir%/cpu/reference_ops.c \
    %reldir%/cpu/reference_priv.h
# list.c stands by itself: which backends there are is the program's choice.
noinst_LIBRARIES += libcnlist.a
libcnlist_a_SOURCES = %reldir%/list.c
