bin_PROGRAMS += controlnet
controlnet_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
controlnet_SOURCES = \
    %reldir%/cli.h %reldir%/main.c \
    %reldir%/adapter.c \
    %reldir%/annotate.c \
    %reldir%/bench.c \
    %reldir%/command.c \
    %reldir%/control.c \
    %reldir%/engine.c \
    %reldir%/generate.c %reldir%/sizes.c \
    %reldir%/inspect.c %reldir%/inspect_adapter.c %reldir%/inspect_print.c \
    %reldir%/inspected.h %reldir%/inspected.c \
    %reldir%/interrupt.c \
    %reldir%/models.c \
    %reldir%/options.h %reldir%/options.c \
    %reldir%/output.h %reldir%/output.c \
    %reldir%/progress.h %reldir%/progress.c \
    %reldir%/text.c %reldir%/throughput.c
controlnet_LDADD = $(CNENGINE_LIBS)
