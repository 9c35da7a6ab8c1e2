noinst_LIBRARIES += libcnwire.a
libcnwire_a_SOURCES = \
    %reldir%/frame.h %reldir%/frame.c \
    %reldir%/message.h %reldir%/message_priv.h %reldir%/message.c \
    %reldir%/message_serve.c \
    %reldir%/pack.h %reldir%/pack.c \
    %reldir%/peer.h %reldir%/peer.c \
    %reldir%/spec.h %reldir%/spec.c
