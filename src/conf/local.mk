noinst_LIBRARIES += libcnconf.a
libcnconf_a_SOURCES = %reldir%/conf.h %reldir%/conf.c %reldir%/conf_file.h %reldir%/conf_file.c \
    %reldir%/keyring.h %reldir%/keyring.c
