noinst_LIBRARIES += libcninputs.a
libcninputs_a_SOURCES = %reldir%/inputs.h %reldir%/inputs.c
