/* What the samplers' files share: the state of a trajectory, and the table of methods. */
#ifndef CN_DIFFUSION_SAMPLER_PRIV_H
#define CN_DIFFUSION_SAMPLER_PRIV_H

#include "base/base.h"

#include "diffusion/sampler.h"

enum { CN_SAMPLER_BUFFERS = 6, CN_LMS_ORDER = 4 };

/* How x mixes signal and noise: x = signal x0 + noise e. */
struct cn_mix {
    float signal, noise;
};

/* One update of x for call s->at. z holds fresh noise where the method draws it. */
typedef void (*cn_sampler_advance_fn)(struct cn_sampler_state *s, float *x, const float *out,
                                      const float *z);
typedef struct cn_mix (*cn_sampler_mix_fn)(const struct cn_sampler_state *s, int at);

struct cn_sampler_method {
    cn_sampler_advance_fn advance;
    cn_sampler_mix_fn mix; /* at absolute call "at" */
    int buffers;           /* arrays of n floats to keep */
};

struct cn_sampler_state {
    const struct cn_sampler_method *method;
    enum cn_sampler kind;
    enum cn_prediction prediction;
    struct cn_timetable t;
    float eta;
    float clip; /* clip_sample: x0 is kept within; 0: as it is */
    size_t n;
    int first;    /* call (index into t) where the trajectory starts: not 0 when denoise < 1 */
    int at;       /* the next call, first .. t.calls */
    int order;    /* UniPC: order of the last predictor */
    float *block; /* owns what buf and z point into */
    float *buf[CN_SAMPLER_BUFFERS]; /* [n] each; their meaning is the method's */
    float *z;                       /* [n] fresh noise; NULL when none is ever drawn */
    const float *uncond; /* [n] answer of the row without the prompt, during an advance */
};

/* samplers in VP coordinates that read abar at timesteps; in VE coordinates; and the DPM family */
void cn_sampler_advance_ddim(struct cn_sampler_state *s, float *x, const float *out,
                             const float *z);
void cn_sampler_advance_pndm(struct cn_sampler_state *s, float *x, const float *out,
                             const float *z);
void cn_sampler_advance_lcm(struct cn_sampler_state *s, float *x, const float *out, const float *z);
void cn_sampler_advance_euler(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z);
void cn_sampler_advance_euler_a(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z);
void cn_sampler_advance_heun(struct cn_sampler_state *s, float *x, const float *out,
                             const float *z);
void cn_sampler_advance_dpmpp(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z);
void cn_sampler_advance_dpmpp_2m_sde(struct cn_sampler_state *s, float *x, const float *out,
                                     const float *z);
void cn_sampler_advance_unipc(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z);
void cn_sampler_advance_deis(struct cn_sampler_state *s, float *x, const float *out,
                             const float *z);
void cn_sampler_advance_tcd(struct cn_sampler_state *s, float *x, const float *out, const float *z);
void cn_sampler_advance_dpm2(struct cn_sampler_state *s, float *x, const float *out,
                             const float *z);
void cn_sampler_advance_dpm2_a(struct cn_sampler_state *s, float *x, const float *out,
                               const float *z);
void cn_sampler_advance_dpmpp_2s_a(struct cn_sampler_state *s, float *x, const float *out,
                                   const float *z);
void cn_sampler_advance_dpmpp_sde(struct cn_sampler_state *s, float *x, const float *out,
                                  const float *z);
void cn_sampler_advance_dpmpp_3m_sde(struct cn_sampler_state *s, float *x, const float *out,
                                     const float *z);
void cn_sampler_advance_lms(struct cn_sampler_state *s, float *x, const float *out, const float *z);
void cn_sampler_advance_heunpp2(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z);
void cn_sampler_advance_restart(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z);
void cn_sampler_advance_euler_cfgpp(struct cn_sampler_state *s, float *x, const float *out,
                                    const float *z);

struct cn_mix cn_sampler_mix_vp(const struct cn_sampler_state *s, int at);
struct cn_mix cn_sampler_mix_ve(const struct cn_sampler_state *s, int at);
struct cn_mix cn_sampler_mix_dpm(const struct cn_sampler_state *s, int at);

/* x0 within clip_sample_range, where the model's configuration says clip_sample. */
static inline float cn_sampler_clip(const struct cn_sampler_state *s, float x0)
{
    if (s->clip <= 0)
        return x0;
    return x0 < -s->clip ? -s->clip : x0 > s->clip ? s->clip : x0;
}

/* x0 from the network's answer, one element; see sampler_predict.c for their coordinates. */
float cn_sampler_x0_vp(enum cn_prediction p, struct cn_mix m, float x, float out);
float cn_sampler_x0_ve(enum cn_prediction p, float sigma, float x, float out);

#endif
