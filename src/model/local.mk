noinst_LIBRARIES += libcnmodel.a
libcnmodel_a_SOURCES = \
    %reldir%/expect.h %reldir%/expect.c \
    %reldir%/nn.h %reldir%/nn.c \
    %reldir%/text.h %reldir%/text.c \
    %reldir%/unet.h %reldir%/unet.c \
    %reldir%/vae.h %reldir%/taesd.c %reldir%/taesd.h %reldir%/vae.c
