/* One job while it is drawn. Shared by job.c, inputs.c and step.c. */
#ifndef CN_ENGINE_JOB_PRIV_H
#define CN_ENGINE_JOB_PRIV_H

#include "diffusion/control.h"
#include "diffusion/noise.h"
#include "diffusion/sampler.h"
#include "engine/engine_priv.h"

enum { CN_MAX_LEVELS = CN_MAX_SKIPS + 1 };

/* What one network needs in every step and was computed before the first. */
struct cn_net_inputs {
    struct cn_network *net;
    const struct cn_unet_config *config;
    enum cn_net kind;
    struct cn_buffer **kv; /* k0, v0, k1, ... [rows, s, width] native */
    int n_kv;
    float *time; /* [calls, time_width] */
    int time_width;
    struct cn_buffer *time_in; /* [rows, time_width] */
};

struct cn_job_control {
    struct cn_spec_control own; /* the request's, adjusted; strings and image are the request's */
    const struct cn_spec_control *spec; /* &own */
    const struct cn_control_config *config;
    struct cn_net_inputs branch;
    struct cn_buffer *hint;                    /* [rows, c0, h, w] native */
    struct cn_buffer *residual[CN_MAX_LEVELS]; /* native */
    struct cn_buffer *weights;                 /* [rows, levels] */
    float *pixels;                             /* [3, H, W] in [0,1] until the hint is encoded */
    int levels;
    int side[CN_MAX_LEVELS]; /* height of each level's residual */
};

struct cn_job {
    struct cn_engine *e;
    const struct cn_spec *spec;
    const struct cn_engine_cb *cb;
    struct cn_model *base;
    const struct cn_unet_config *unet;
    const struct cn_vae_config *vae;
    int width, height;   /* pixels */
    int rows;            /* 2 with guidance: unconditional first */
    int channels, h, w;  /* of the latent */
    int tokens;
    int calls;
    size_t latent;       /* elements of one image's latent */
    struct cn_net_inputs main;
    struct cn_job_control control[CN_MAX_CONTROLS];
    int n_controls;
    struct cn_buffer *sample, *sample9, *out; /* [rows, c, h, w]; sample9: 9-channel UNets */
    float *x, *in, *eps, *rows_in, *noise, *kept; /* host work arrays, see job.c */
    /* img2img and inpainting; NULL when absent */
    float *init_pixels;   /* [3, H, W] in [-1,1] */
    float *mask;          /* [h, w], 1 is painted anew */
    float *masked_pixels; /* [3, H, W]: init_pixels where the mask is below 0.5 */
    float *init_latent, *masked_latent;
    struct cn_arena arena;       /* small things of the job's lifetime */
    float **floats;              /* host arrays whose size the request decides */
    size_t n_floats, floats_cap;
    struct cn_buffer **buffers;  /* all of them, for the end */
    size_t n_buffers, buffers_cap;
    double ms[CN_ENGINE_STAGE_COUNT];
};

/* inputs.c: files to floats. */
int cn_job_read_inputs(struct cn_job *j, struct cn_err *err);

/* step.c: what is computed once, and one network call for the whole batch. */
int cn_job_prepare(struct cn_job *j, const float *timesteps, struct cn_err *err);
/* x: the model input of the image; eps: the network's answer after guidance, [latent]. */
int cn_job_step(struct cn_job *j, int call, const float *x, float *eps, struct cn_err *err);
int cn_job_decode(struct cn_job *j, const float *latent, struct cn_image *ret, struct cn_err *err);
/* z = (mean + std * noise - shift) * scaling factor of pixels [3, H, W]. */
int cn_job_encode(struct cn_job *j, const float *pixels, const float *noise, float *ret,
                  struct cn_err *err);

/* job.c */
int cn_job_buffer(struct cn_job *j, const struct cn_value *v, int flags, struct cn_buffer **ret,
                  struct cn_err *err);
/* Adds the time since *start (seconds) to a stage, and restarts *start. */
void cn_job_stage(struct cn_job *j, enum cn_engine_stage stage, double *start);
bool cn_job_cancelled(const struct cn_job *j);
/* n zeros of the job's lifetime. */
int cn_job_floats(struct cn_job *j, size_t n, float **ret, struct cn_err *err);

#endif
