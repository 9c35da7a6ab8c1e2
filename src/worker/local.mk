noinst_LIBRARIES += libcnworkerloop.a
libcnworkerloop_a_SOURCES = %reldir%/loop.h %reldir%/loop.c

pkglibexec_PROGRAMS += controlnet-worker
CNWORKER_SOURCES = %reldir%/main.c %reldir%/options.h %reldir%/options.c %reldir%/job.h %reldir%/job.c \
    %reldir%/twin.h %reldir%/twin.c \
    %reldir%/watch.h %reldir%/watch.c %reldir%/facts.h %reldir%/facts.c
controlnet_worker_SOURCES = $(CNWORKER_SOURCES)
controlnet_worker_LDADD = libcnworkerloop.a libcnwire.a libcndecoding.a $(CNENGINE_LIBS)

# The same with the CUDA backend. Only this program needs NVIDIA's libraries.
if CN_CUDA
pkglibexec_PROGRAMS += controlnet-worker-cuda
controlnet_worker_cuda_SOURCES = $(CNWORKER_SOURCES)
controlnet_worker_cuda_LDADD = libcnworkerloop.a libcnwire.a libcndecoding.a $(CNENGINE_ABOVE) $(CNCUDA_LIBS) \
    $(CNENGINE_BELOW)
endif
