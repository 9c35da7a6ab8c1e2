noinst_LIBRARIES += libcncheckpoint.a
libcncheckpoint_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
libcncheckpoint_a_SOURCES = \
    %reldir%/checkpoint.h %reldir%/checkpoint.c %reldir%/checkpoint_priv.h \
    %reldir%/ckdir.c %reldir%/ckfile.c \
    %reldir%/conf.c %reldir%/config.h %reldir%/config_net.c %reldir%/config_text.c \
    %reldir%/expect.h %reldir%/expect.c \
    %reldir%/infer.c \
    %reldir%/inspect.h %reldir%/inspect.c \
    %reldir%/names.h %reldir%/names.c \
    %reldir%/safetensors.h %reldir%/safetensors.c \
    %reldir%/sidecar.c \
    %reldir%/stheader.c %reldir%/stwrite.c
