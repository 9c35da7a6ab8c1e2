noinst_LIBRARIES += libcntensor.a
libcntensor_a_SOURCES = \
    %reldir%/graph.h %reldir%/graph.c \
    %reldir%/passes.h %reldir%/passes.c
