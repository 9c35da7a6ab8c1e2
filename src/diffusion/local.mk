# Schedules, samplers, noise and control weights. No contraction of a * b + c: the results are
# compared with PyTorch's bit by bit, and what is fused there is written fmaf() here.
noinst_LIBRARIES += libcndiffusion.a
libcndiffusion_a_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
libcndiffusion_a_SOURCES = \
    %reldir%/betas.c \
    %reldir%/control.h %reldir%/control.c \
    %reldir%/curve.h %reldir%/curve.c \
    %reldir%/inpaint.h %reldir%/inpaint.c \
    %reldir%/noise.h %reldir%/noise.c \
    %reldir%/sampler.h %reldir%/sampler.c %reldir%/sampler_priv.h \
    %reldir%/sampler_dpm.c %reldir%/sampler_kd.c %reldir%/sampler_predict.c \
    %reldir%/sampler_ve.c %reldir%/sampler_vp.c \
    %reldir%/schedule.h %reldir%/upscale.c %reldir%/upscale.h %reldir%/schedule.c %reldir%/schedule_class.c \
    %reldir%/schedule_priv.h \
    %reldir%/variation.h %reldir%/variation.c
