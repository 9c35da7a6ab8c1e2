noinst_LIBRARIES += libcnengine.a
libcnengine_a_SOURCES = \
    %reldir%/engine.h %reldir%/engine_priv.h %reldir%/engine.c \
    %reldir%/adapters.c %reldir%/annotators.c \
    %reldir%/batch_policy.c \
    %reldir%/batch_buffers.c \
    %reldir%/batch_priv.h \
    %reldir%/batch_step.c \
    %reldir%/batcher.c \
    %reldir%/contexts.c %reldir%/added.c %reldir%/times.c %reldir%/conditioning.c \
    %reldir%/decode_task.c %reldir%/depth.c \
    %reldir%/helper_threads.c \
    %reldir%/inputs.c %reldir%/maps.c %reldir%/masks.c %reldir%/painting.c %reldir%/pictures.c \
    %reldir%/job_priv.h %reldir%/job.c \
    %reldir%/passes.c %reldir%/lane.c \
    %reldir%/memory.c \
    %reldir%/preview.c \
    %reldir%/prompts.c \
    %reldir%/row_inputs.h %reldir%/row_inputs.c \
    %reldir%/step_loop.c \
    %reldir%/warmup.c
# Everything that a program with an engine links, in order: what is above the backends, the backends
# (CNBACKEND_LIBS, or others in their place), libraries.
CNENGINE_ABOVE = libcnengine.a libcnruntime.a libcnmodel.a libcncheckpoint.a libcntext.a libcndiffusion.a \
    libcnimage.a
CNENGINE_BELOW = $(JANSSON_LIBS) $(ZLIB_LIBS) $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS) \
    $(OPENMP_CFLAGS)
CNENGINE_LIBS = $(CNENGINE_ABOVE) $(CNBACKEND_LIBS) $(CNENGINE_BELOW)
