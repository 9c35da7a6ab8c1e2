noinst_LIBRARIES += libcntensor.a
libcntensor_a_SOURCES = \
    %reldir%/graph.h %reldir%/graph.c \
    %reldir%/ops_priv.h %reldir%/op_shapes.c %reldir%/ops.c \
    %reldir%/passes.h %reldir%/passes.c
