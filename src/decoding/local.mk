noinst_LIBRARIES += libcndecoding.a
libcndecoding_a_SOURCES = \
    %reldir%/message.h \
    %reldir%/wall.h %reldir%/wall.c %reldir%/wall_names.c \
    %reldir%/serve.h %reldir%/serve.c %reldir%/reply.h %reldir%/reply.c \
    %reldir%/child_priv.h %reldir%/child.c \
    %reldir%/keeper_priv.h %reldir%/keeper.c \
    %reldir%/client.h %reldir%/client.c
# What a decoder links, and nobody else.
CNDECODER_LIBS = libcndecoding.a libcnimage.a libcnbase.a $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS) \
    $(SECCOMP_LIBS)
libcndecoding_a_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)

# What workers start to read the pictures of requests.
pkglibexec_PROGRAMS += controlnet-decoder
controlnet_decoder_SOURCES = %reldir%/main.c
controlnet_decoder_LDADD = $(CNDECODER_LIBS)
