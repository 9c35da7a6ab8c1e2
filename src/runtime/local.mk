noinst_LIBRARIES += libcnruntime.a
libcnruntime_a_SOURCES = \
    %reldir%/adapter_fit.c %reldir%/adapter_math.h %reldir%/adapter_math.c \
    %reldir%/adapter_match.h %reldir%/adapter_match.c \
    %reldir%/adapters.h %reldir%/adapters.c \
    %reldir%/adapted.h %reldir%/adapted.c \
    %reldir%/fitted.h %reldir%/fitted.c \
    %reldir%/overlay.h %reldir%/overlay.c \
    %reldir%/bands.h %reldir%/bands_priv.h %reldir%/bands.c %reldir%/bands_graph.c \
    %reldir%/tiny_decoder.h %reldir%/tiny_decoder.c \
    %reldir%/kept_rows.h %reldir%/kept_rows.c \
    %reldir%/embeddings.h %reldir%/embeddings.c \
    %reldir%/file_name.h %reldir%/file_name.c \
    %reldir%/find_models.h %reldir%/find_models.c \
    %reldir%/inspect.h %reldir%/inspect.c \
    %reldir%/model.h %reldir%/model.c \
    %reldir%/network.h %reldir%/network.c \
    %reldir%/param_reader.h %reldir%/param_reader.c \
    %reldir%/plans.h %reldir%/plans.c \
    %reldir%/registry.c \
    %reldir%/residency.c \
    %reldir%/runtime.h \
    %reldir%/token_rows.h %reldir%/token_rows.c \
    %reldir%/version.h %reldir%/version.c
