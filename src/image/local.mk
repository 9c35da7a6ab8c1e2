noinst_LIBRARIES += libcnimage.a
libcnimage_a_SOURCES = \
    %reldir%/image.h %reldir%/image.c \
    %reldir%/convert.h %reldir%/convert.c \
    %reldir%/annotate.h %reldir%/annotators.c \
    %reldir%/annotate_canny.c \
    %reldir%/annotate_blur.h %reldir%/annotate_blur.c \
    %reldir%/annotate_lines.c \
    %reldir%/annotate_hough.c \
    %reldir%/annotate_scene.c \
    %reldir%/edge_pad.h %reldir%/edge_pad.c \
    %reldir%/map_fit.h %reldir%/map_fit.c \
    %reldir%/map_thin.h %reldir%/map_thin.c \
    %reldir%/map_resample.h %reldir%/map_resample.c \
    %reldir%/resize.h %reldir%/resize.c \
    %reldir%/webui_fit.h %reldir%/webui_fit.c %reldir%/webui_fill.c \
    %reldir%/codec.h %reldir%/codec_priv.h %reldir%/codec.c \
    %reldir%/codec_common.c %reldir%/codec_png.c %reldir%/codec_jpeg.c \
    %reldir%/codec_webp.c \
    %reldir%/png_chunk.h %reldir%/png_chunk.c \
    %reldir%/profile.h %reldir%/profile.c \
    %reldir%/riff.h %reldir%/riff.c \
    %reldir%/metadata.h %reldir%/metadata.c %reldir%/metadata_read.c \
    %reldir%/png_text.h %reldir%/png_text.c \
    %reldir%/exif.c
libcnimage_a_CPPFLAGS = $(AM_CPPFLAGS) $(SPNG_CFLAGS) $(JPEG_CFLAGS) $(WEBP_CFLAGS) \
    $(LCMS2_CFLAGS)
# -O3: the loops over pixels are written to be vectorized, which -O2 does not do here. No contraction
# of a * b + c: the same pixels on every processor.
libcnimage_a_CFLAGS = $(AM_CFLAGS) -O3 -ffp-contract=off -Wconversion
