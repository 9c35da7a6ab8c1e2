noinst_LIBRARIES += libcncheckpoint.a
libcncheckpoint_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
libcncheckpoint_a_SOURCES = \
    %reldir%/checkpoint.h %reldir%/checkpoint.c %reldir%/checkpoint_priv.h \
    %reldir%/config.h %reldir%/config_file.c %reldir%/config_net.c \
    %reldir%/config_schedule.c %reldir%/config_text.c \
    %reldir%/infer.c \
    %reldir%/names.h %reldir%/names.c \
    %reldir%/open_dir.c %reldir%/open_file.c \
    %reldir%/safetensors.h \
    %reldir%/safetensors_header.c %reldir%/safetensors_write.c \
    %reldir%/sidecar.c \
    %reldir%/tensor_file.h %reldir%/tensor_file.c %reldir%/tensor_set.c
