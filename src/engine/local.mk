noinst_LIBRARIES += libcnengine.a
libcnengine_a_SOURCES = \
    %reldir%/source.h %reldir%/source.c
# Everything that a program with an engine links, in order.
CNENGINE_LIBS = libcnengine.a libcnmodel.a libcncheckpoint.a libcntext.a libcndiffusion.a \
    libcnimage.a $(CNBACKEND_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(SPNG_LIBS) $(JPEG_LIBS) \
    $(WEBP_LIBS) $(OPENMP_CFLAGS)
