/* Jobs, their images in progress (lanes), and the batches in which these take their steps.
 *
 * DESIGN. A job belongs to the owner's thread, except while the reading helper thread has it
 * (CN_JOB_READING). A finished image travels to the finishing thread as a cn_decode_task and
 * comes back. Network calls that prepare a job, and all steps, are the owner's; the decoder runs
 * as a side plan on the finishing thread.
 */
#ifndef CN_ENGINE_JOB_PRIV_H
#define CN_ENGINE_JOB_PRIV_H

#include "base/buf.h"
#include "diffusion/control.h"
#include "diffusion/noise.h"
#include "diffusion/sampler.h"
#include "diffusion/upscale.h"
#include "engine/engine_priv.h"
#include "engine/row_inputs.h"
#include "image/webui_fit.h"
#include "runtime/plans.h"
#include "text/prompt.h"

/* Texts of a job, of all rows and steps, and chunks that they take together: each has keys and
 * values in all attentions of all networks, 8 MB a chunk in SD 1.5's UNet. */
enum { CN_MAX_JOB_TEXTS = 64, CN_MAX_JOB_CHUNKS = 64 };

/* What a row says, for all steps or for some. */
struct cn_job_text {
    int row;
    char *source;                   /* a1111: as the schedule has it */
    struct cn_prompt_pieces pieces; /* a1111: what it says */
    int times;                      /* that it stands in the row's schedule */
    int first;                      /* step that it is there for */
};

enum { CN_MAX_LEVELS = CN_MAX_SKIPS + 1 };

/* What one network is told in every step, computed before the first. */
struct cn_net_inputs {
    struct cn_denoiser of;
    struct cn_row_inputs rows;
};

struct cn_job_control {
    struct cn_spec_control own; /* the request's, adjusted; strings and image are the request's */
    const struct cn_spec_control *spec; /* &own */
    struct cn_model *model;
    const struct cn_control_config *config;
    struct cn_net_inputs net;
    struct cn_annotator_entry *annotator; /* set when the picture was read */
    float *picture; /* [3, H, W] in [0,1], of an annotator that is a network; else NULL */
    float *pixels;  /* [3, H, W] in [0,1], or -1: the map of which the hint is encoded */
    struct cn_image map; /* of one that is returned, when pixels are there */
    int levels;
    int side[CN_MAX_LEVELS]; /* height of each level's residual */
};

/* How a job ended, for a caller that waits for it. */
struct cn_job_outcome {
    bool over;
    int rc;
    struct cn_err err;
};

enum cn_job_state {
    CN_JOB_READING, /* a helper has it */
    CN_JOB_READ,    /* waits for its turn to be prepared */
    CN_JOB_DRAWING,
    CN_JOB_OVER /* end() was called; something of it is still with a helper thread */
};

struct cn_job {
    struct cn_engine *e;
    const struct cn_spec *spec; /* not after end() */
    struct cn_engine_cb cb;
    /* Two passes (passes.c): the first one's job has the second's, which waits for its latents. */
    struct cn_job *second;
    struct cn_spec *own_spec; /* spec, when it is not the request's */
    float *drawn;             /* of the second: [n, first latent]; NULL: it is none */
    struct cn_image *drawn_picture; /* of the second, in place of drawn: [n], enlarged */
    float *drawn_moments;           /* of drawn_picture: [2 * channels, h, w], scratch */
    struct cn_latent_size drawn_size;
    int calls_before, calls_after; /* of the other pass */
    struct cn_job_outcome *outcome; /* NULL, or where the end is told as well */
    struct cn_job *next;
    uint64_t serial;
    enum cn_job_state state;
    int rc; /* of reading; then of the job */
    struct cn_err err;
    double vtime;      /* what the device has done for it: step_loop.c */
    double preview_s;  /* when the last preview was made */
    int pictures;      /* images, and maps that are returned */
    int started, done; /* images; pictures */
    int lanes;         /* images in progress */
    int finishing;     /* images with a helper thread */
    /* Guarded by the helpers' lock: callbacks on helper threads that run; none may begin. */
    int callbacks;
    bool detached;
    bool pinned;
    bool holds_models;
    bool warned; /* conditioning has told its warnings */
    struct cn_batcher *batcher;
    struct cn_embedding_list *embeddings; /* held; NULL: there are none */
    struct cn_model *base;
    struct cn_model *vae_model; /* whose autoencoder it uses: the base, or one alone */
    struct cn_adapted *adapted; /* the base under the job's adapters; NULL: it has none */
    const char *prompt;         /* the request's, without tags that were read */
    const struct cn_unet_config *unet;
    struct cn_vae_config own_vae; /* of vae_model, with the scale of base's latents */
    const struct cn_vae_config *vae;
    int width, height;   /* pixels */
    int rows;            /* 1; with guidance the negative prompt, then each part of the prompt; at
                            last the prompt's row once more, perturbed */
    bool guided;         /* the first row is the negative prompt's */
    int perturbed;       /* row that goes without the middle block's attention; negative: none */
    int channels, h, w;  /* of the latent */
    int positions;       /* that a text encoder reads at a time: one chunk */
    int chunks;          /* of all texts, once they are tokenized */
    int tokens, context; /* a text's: [tokens = positions * chunks, context] */
    int pooled;          /* width of a text's pooled vector; 0: none is wanted */
    float *added;        /* [n_texts, unet->add_dim]: what a row that shows the text is told */
    struct cn_job_text *text; /* by rows */
    int n_texts;
    size_t texts_cap;
    int schedule_steps; /* over which texts change */
    int steps_before;   /* of the pass before, as its texts count them; 0: this is the first */
    uint8_t *shown;     /* [rows, schedule_steps]: the text of each step; NULL: row i has text i */
    double guidance[CN_MAX_IMAGE_ROWS]; /* of each row: the request's, times its part's weight */
    int calls;
    size_t latent; /* elements of one image's latent */
    struct cn_net_inputs main;
    struct cn_job_control control[CN_MAX_CONTROLS];
    int n_controls;
    int order[CN_MAX_CONTROLS]; /* of the controls in a batch: by model, so that jobs agree */
    /* img2img and inpainting; NULL when absent */
    struct cn_image init_image;  /* what is painted over: as large as what comes out */
    struct cn_image paste_level; /* of init_image, c = 1: how much of each pixel is painted */
    struct cn_region part;       /* of init_image, that is drawn alone; w 0: all of it */
    float *mask_level;           /* [H, W]: how much of each pixel that is drawn is painted */
    bool mask_is_empty;                   /* none of them half or more */
    float *init_pixels;                   /* [3, H, W] in [-1,1] */
    float *mask;                          /* [h, w], 1 is painted anew */
    float *depth; /* [h, w] in [-1,1], near is large; NULL: the UNet does not see it */
    float *masked_pixels;                 /* [3, H, W]: init_pixels where the mask is below 0.5 */
    float *init_moments, *masked_moments; /* [2 * channels, h, w] of the encoder */
    struct cn_arena arena;                /* small things of the job's lifetime */
    float **floats;                       /* host arrays whose size the request decides */
    size_t n_floats, floats_cap;
    struct cn_buffer **buffers; /* all of them, for the end */
    size_t n_buffers, buffers_cap;
    double ms[CN_ENGINE_STAGE_COUNT];
};

/* One image in progress. */
struct cn_lane {
    struct cn_job *job;
    struct cn_lane *next;
    int image;
    uint64_t seed;
    struct cn_sampler_state *sampler;
    struct cn_noise noise;
    float *x;                           /* [latent] */
    float *start;                       /* the noise that inpainting puts back */
    float *init_latent, *masked_latent; /* NULL: not needed */
};

/* A finished latent on its way to a picture and its file. */
struct cn_decode_task {
    struct cn_decode_task *next;
    struct cn_job *job;
    struct cn_plan_entry *plan; /* pinned; NULL: the picture is decoded in bands */
    struct cn_buffer *in, *out;
    struct cn_bands *bands;
    enum cn_dtype store;    /* what the bands keep */
    size_t band_bytes;      /* as the engine counts them */
    bool more;              /* another layer of the bands is to be prepared */
    float *latent, *pixels; /* host sides of in and out */
    bool not_finite;        /* pixels are not numbers: a plan of wider range may help */
    int index, width, height;
    uint64_t seed;
    double ms;
    struct cn_image picture;
    struct cn_buf file; /* encode()'s */
    enum { CN_ENCODE_WAITS, CN_ENCODE_RUNS, CN_ENCODE_DONE } encode;
    int rc;
    struct cn_err err;
};

/* annotators.c */
struct cn_annotator_entry *cn_annotator_named(const struct cn_engine *e, const char *name);
/* Of one that is a network, which is loaded when it is not. */
int cn_annotator_plan(struct cn_engine *e, struct cn_annotator_entry *a, int height, int width,
                      struct cn_plan_entry **ret, struct cn_err *err);
void cn_annotators_unload(struct cn_engine *e); /* weights and plans */
void cn_annotators_free(struct cn_engine *e);
size_t cn_annotators_bytes(const struct cn_engine *e);

/* What follows, up to cn_job_read_inputs(), runs on the reading thread. */

/* pictures.c */
/* Says which field of the request the image was in; returns the error's code. */
int cn_job_blame_field(struct cn_err *err, const char *where);
int cn_job_decode(const struct cn_job *j, const struct cn_blob *blob, struct cn_image *ret,
                  struct cn_err *err);
/* The map of control i is a picture of the job. */
bool cn_job_keeps_map(const struct cn_job *j, int i);

/* depth.c */
int cn_job_read_depth(struct cn_job *j, struct cn_err *err);

/* masks.c */
/* Levels (c = 1) of a mask file, white where it is to be painted, w x h. */
int cn_mask_read(struct cn_job *j, const struct cn_blob *file, enum cn_mask_alpha alpha,
                 enum cn_resize mode, int w, int h,
                 struct cn_image *ret, struct cn_err *err);
/* Of the request's mask, turned and softened as it says. */
int cn_mask_levels(struct cn_job *j, enum cn_resize mode, int w, int h, struct cn_image *ret,
                   struct cn_err *err);
/* The levels of what is drawn, after init_pixels. */
int cn_job_set_mask(struct cn_job *j, const struct cn_image *levels, struct cn_err *err);

/* painting.c: init_image and mask. */
int cn_job_read_painting(struct cn_job *j, struct cn_err *err);
/* On the decoding thread: what the mask spares comes back from init_image, whose size the picture
 * gets when a part of it was drawn. */
int cn_job_paste_back(const struct cn_job *j, struct cn_image *picture, struct cn_err *err);

/* maps.c: the map of control i, or the picture that a network makes one of. */
int cn_job_read_map(struct cn_job *j, int i, struct cn_err *err);

/* inputs.c: files to floats. */
int cn_job_read_inputs(struct cn_job *j, struct cn_err *err);

/* conditioning.c: what is computed once for a job. After a lack of memory it may be called again.
 */
int cn_job_prepare(struct cn_job *j, struct cn_err *err);
/* The picture of the pass before to drawn_moments, for the lane that begins next. */
int cn_job_encode_drawn(struct cn_job *j, int image, struct cn_err *err);
/* Of a job that draws nothing: the maps that are returned, of annotators that are networks. */
int cn_job_annotate(struct cn_job *j, struct cn_err *err);

/* job.c */
/* steps_before: those of the pass before that its texts count, or 0. */
int cn_job_new(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
               int steps_before, struct cn_job **ret, struct cn_err *err);
void cn_job_free(struct cn_job *j);
int cn_job_buffer(struct cn_job *j, const struct cn_value *v, int flags, struct cn_buffer **ret,
                  struct cn_err *err);
/* Adds the time since *start (seconds) to a stage, and restarts *start. */
void cn_job_stage(struct cn_job *j, enum cn_engine_stage stage, double *start);
/* Does the engine's tiny autoencoder know the latents of its model? */
bool cn_job_has_tiny(const struct cn_job *j);
bool cn_job_cancelled(const struct cn_job *j);
/* A mask of strength 1 begins from noise alone, by diffusers' rules: what was there is not seen. */
bool cn_job_paints_from_noise(const struct cn_job *j);
/* Its pictures are there without a step. */
bool cn_job_draws_nothing(const struct cn_job *j);
/* Stands before every network call: whoever cancels does not wait for the rest. */
int cn_job_go_on(const struct cn_job *j, const char *what, struct cn_err *err);
/* Stands after asking for a plan, with the answer: what it cost to compile since start counts as
 * loading, and what the model lacks is its fault. */
int cn_job_planned(struct cn_job *j, int rc, const struct cn_network *net, double start,
                   struct cn_err *err);
/* n zeros of the job's lifetime. */
int cn_job_floats(struct cn_job *j, size_t n, float **ret, struct cn_err *err);
/* A tensor is missing, or has another shape than the configuration says: the model is broken, which
 * is not the same as a model that is not there. */
int cn_job_blame_model(const struct cn_job *j, const struct cn_network *net, struct cn_err *err);

/* prompts.c */
/* Reads the prompts by the request's syntax. CN_EINVAL, with their place, for what cannot be drawn.
 */
int cn_prompts_read(struct cn_job *j, struct cn_err *err);
void cn_prompts_release(struct cn_job *j);
/* The text that a row shows in a call of the network. */
int cn_prompts_shown(const struct cn_job *j, int row, int call);
/* What text encoder i reads of a text. */
int cn_prompts_tokenize(struct cn_job *j, int i, int text, struct cn_prompt_chunks *ret,
                        struct cn_err *err);
/* Tells of texts that no call shows. */
void cn_prompts_warn_unseen(const struct cn_job *j);

/* ---- adapters.c ---- */

/* Looks up what the request and the tags of its prompt name; the job holds them. Before the prompts
 * are read. */
int cn_job_find_adapters(struct cn_job *j, struct cn_err *err);
/* The job's UNet or text encoder: the base's, or one with weights that adapters changed. */
struct cn_network *cn_job_network(const struct cn_job *j, enum cn_component comp);
/* What the job's adapters add to rows [row, row + rows) of such a network: at most CN_MAX_ADAPTERS;
 * returns how many. */
int cn_job_adapters(const struct cn_job *j, enum cn_component comp, int row, int rows,
                    struct cn_row_adapter *ret);
/* Of a denoiser, in all rows the same; ControlNets have none. */
int cn_job_net_adapters(const struct cn_job *j, const struct cn_net_inputs *b, int rows,
                        struct cn_row_adapter *ret);
/* Tells of adapters that fit the model in part only. */
void cn_job_warn_of_adapters(const struct cn_job *j);
/* One chunk of a text: z [tokens, width], the weights of its tokens, how often it counts. */
struct cn_emphasis {
    float *z;
    const float *weight;
    int times;
};
/* Multiplies the tokens of the same chunk of all n texts of a row by their weights, and all of them
 * by a number that restores their mean. */
void cn_prompts_emphasize(const struct cn_emphasis *e, int n, size_t tokens, size_t width);

/* times.c */
/* The timesteps of all calls, [calls]; they do not depend on the size of the latent. */
int cn_times_find(struct cn_job *j, float **ret, struct cn_err *err);
/* The residual blocks' projections of the time embedding as an input of the network's rows: [calls,
 * width], the same for all rows or one for each. */
int cn_times_project(struct cn_job *j, struct cn_net_inputs *b, const float *timesteps,
                     struct cn_err *err);

/* added.c */
/* Makes the vectors of all texts, of their pooled ones [n_texts, j->pooled]; nothing where the
 * network is told none. */
int cn_added_make(struct cn_job *j, const float *pooled, struct cn_err *err);
/* The vector of a row in a call of the network, [unet->add_dim]. */
const float *cn_added_of(const struct cn_job *j, int row, int call);

/* contexts.c */
/* The texts through the text encoders: [n_texts, tokens, context], native; and what rows are told
 * of them beside the time. */
int cn_contexts_encode(struct cn_job *j, struct cn_buffer **ret, struct cn_err *err);

/* passes.c: the job of a request, with that of its second pass. */
int cn_passes_new(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_job **ret, struct cn_err *err);
/* What image l drew in the first pass is where the second begins. */
void cn_passes_keep(const struct cn_lane *l);
/* Is it the picture that the second begins with? */
bool cn_passes_by_picture(const struct cn_job *first);
/* Then the picture, enlarged. Decoding thread. */
int cn_passes_keep_picture(const struct cn_job *first, int image, const struct cn_image *picture,
                           struct cn_err *err);
/* The second job of one whose images are all drawn: it takes over from the first. */
struct cn_job *cn_passes_take_second(struct cn_job *first);

/* lane.c */
/* The job's sampler, for a latent of n elements. */
int cn_lane_sampler(const struct cn_job *j, size_t n, struct cn_sampler_state **ret,
                    struct cn_err *err);
int cn_lane_new(struct cn_job *j, int image, struct cn_lane **ret, struct cn_err *err);
void cn_lane_free(struct cn_lane *l);
/* The network's answer after guidance moves the image on; uncond: that of the row without the
 * prompt, or NULL. */
int cn_lane_advance(struct cn_lane *l, const float *eps, const float *uncond, float *work,
                    struct cn_err *err);
bool cn_lane_is_finite(const struct cn_lane *l);

/* batcher.c and batch_step.c: jobs whose images can take a step together. */
struct cn_step_cost {
    double load_ms, control_ms, unet_ms;
};

/* The job's group, made when it is not there. */
struct cn_batcher *cn_batcher_for(struct cn_engine *e, const struct cn_job *j);
/* Which of the group's ControlNets act on the lane in its next step: one bit for each. */
unsigned cn_lane_controls(const struct cn_lane *l);
/* The ControlNets' and the UNet's rows that the lane's next step computes. */
int cn_lane_network_rows(const struct cn_lane *l);
/* One network call for n lanes of the group, then guidance and sampler of each. */
int cn_batcher_step(struct cn_engine *e, struct cn_batcher *g, struct cn_lane *const *lane, int n,
                    struct cn_step_cost *ret, struct cn_err *err);
/* Of the batchers without jobs: all but the `keep` most recently used; or those whose models are
 * not loaded. */
void cn_batchers_drop_idle(struct cn_engine *e, int keep);
void cn_batchers_drop_unloaded(struct cn_engine *e);
/* Frees the buffers of all groups; the next step makes them again. */
void cn_batchers_clear(struct cn_engine *e);
size_t cn_batchers_bytes(const struct cn_engine *e);

/* preview.c: a small picture of a clean latent [channels, h, w]. */
int cn_preview_draw(struct cn_job *j, const float *latent, struct cn_image *ret,
                    struct cn_err *err);

/* batch_policy.c */
int cn_power_of_two(int n); /* the largest one up to n */
/* A step may hold images on which not the same ControlNets act. */
bool cn_engine_mixes_controls(const struct cn_engine *e);

/* decode_task.c: made and freed by the owner. */
struct cn_decode_task *cn_decode_task_new(struct cn_lane *l, struct cn_err *err);
/* A picture that is there already, which is taken: only its file is to be made. */
struct cn_decode_task *cn_decode_task_ready(struct cn_job *j, int index,
                                            struct cn_image *picture_take);
void cn_decode_task_free(struct cn_decode_task *f);
/* Of one that was not finite: another plan, when there is one of wider range. */
int cn_decode_task_widen(struct cn_decode_task *f, struct cn_err *err);
/* Of one that has more to do: prepares the next layer. */
int cn_decode_task_go_on(struct cn_decode_task *f, struct cn_err *err);
/* Of one that found no memory: in bands, unless it was. CN_ENOTFOUND: there is no other way. */
int cn_decode_task_split(struct cn_decode_task *f, struct cn_err *err);
/* On the decoding thread. */
int cn_decode_task_run(struct cn_decode_task *f);

/* helper_threads.c: called by the owner. */
int cn_helpers_start(struct cn_engine *e, struct cn_err *err);
void cn_helpers_stop(struct cn_engine *e); /* waits for what they are doing; nothing comes back */
void cn_helpers_read(struct cn_engine *e, struct cn_job *j);
void cn_helpers_decode(struct cn_engine *e, struct cn_decode_task *f);
/* One that is decoded. */
void cn_helpers_encode(struct cn_engine *e, struct cn_decode_task *f);
/* What came back, or NULL. */
struct cn_job *cn_helpers_take_read(struct cn_engine *e);
struct cn_decode_task *cn_helpers_take_decoded(struct cn_engine *e);
bool cn_helpers_has_news(const struct cn_engine *e);
void cn_helpers_wait(struct cn_engine *e); /* until there is news */
/* encode() and image() will not be called any more. False: one is running now. */
bool cn_helpers_detach(struct cn_engine *e, struct cn_job *j);

#endif
