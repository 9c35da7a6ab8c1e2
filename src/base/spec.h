/* What one job asks for: the only description of a request in the project.
 *
 * The HTTP dialects and the command line fill one, cn_spec_check() holds it against the limits, the
 * wire carries it to a worker, and the engine draws it. Plain data, owned by whoever holds the
 * struct; any thread, one at a time.
 *
 *     struct cn_spec s;
 *     cn_spec_init(&s);                       -- every default in one place
 *     s.prompt = cn_xstrdup("a red apple");
 *     if (cn_spec_check(&s, &limits, &err) < 0) ...        -- err.where = "/steps"
 *     cn_spec_release(&s);
 */
#ifndef CN_BASE_SPEC_H
#define CN_BASE_SPEC_H

#include "base/base.h"

enum {
    CN_CONTROL_LEVELS = 13, /* 12 skips and the middle block of an SD 1.5 UNet */
    CN_MAX_CONTROLS = 8,
    CN_MAX_NAME = 1024, /* bytes of a name of models, annotators and so on */
    CN_MAX_ADAPTERS = 16,
    CN_BLOCK_WEIGHTS = 26, /* the text encoders', 12 input blocks, the middle, 12 output blocks */
    CN_MAX_ADAPTER_STRENGTH = 20, /* of either sign */
    CN_MAX_PROMPT_PARTS = 8, /* that AND joins: each is a row of every step */
    CN_MAX_CLIP_SKIP = 32,
    CN_MODEL_NAME = 256, /* bytes of a model's name, with the NUL: it is a file's name */
    CN_MAX_STEPS = 1000,
    CN_MAX_IMAGES = 1000, /* of one job */
    CN_MAX_ANNOTATOR_PARAMS = 8,
    CN_PARAM_NAME = 32 /* bytes of an annotator's parameter's name, with the NUL */
};

/* What is to be done. Workers refuse kinds that they do not know. */
enum cn_job_kind {
    CN_KIND_DRAW,
    CN_KIND_ANNOTATE, /* control 0's map is the picture: no model, no steps */
    CN_JOB_KIND_COUNT
};

enum cn_sampler {
    CN_DDIM,
    CN_EULER,
    CN_EULER_A,
    CN_HEUN,
    CN_DPMPP_2M,
    CN_DPMPP_2M_SDE,
    CN_UNIPC,
    CN_LCM,
    CN_PNDM,
    CN_DPMPP_SDE,
    CN_DPMPP_2M_SDE_HEUN,
    CN_DPMPP_3M_SDE,
    CN_DPMPP_2S_A,
    CN_DPM2,
    CN_DPM2_A,
    CN_LMS,
    CN_HEUNPP2,
    CN_DEIS,
    CN_TCD,
    CN_RESTART,
    CN_EULER_CFGPP,
    CN_SAMPLER_COUNT
};

/* CN_SCHEDULE_DEFAULT: what the model's scheduler_config.json says, else its timesteps. */
enum cn_schedule {
    CN_SCHEDULE_DEFAULT,
    CN_KARRAS,
    CN_EXPONENTIAL,
    CN_SCHEDULE_POLYEXPONENTIAL,
    CN_SCHEDULE_SGM_UNIFORM,
    CN_SCHEDULE_NORMAL,
    CN_SCHEDULE_SIMPLE,
    CN_SCHEDULE_BETA,
    CN_SCHEDULE_BETA_TIMESTEPS,
    CN_SCHEDULE_KL_OPTIMAL,
    CN_SCHEDULE_AYS,
    CN_SCHEDULE_COUNT
};

/* CN_SPACING_MODEL: what the model's scheduler_config.json says, else the sampler's own default. */
enum cn_spacing { CN_SPACING_MODEL, CN_LEADING, CN_TRAILING, CN_LINSPACE, CN_SPACING_COUNT };

/* How prompts are read: every character as it stands; or by the grammar of AUTOMATIC1111's web UI,
 * in which brackets change weights and texts may have any length (text/prompt.h). */
enum cn_prompt_syntax { CN_PROMPT_PLAIN, CN_PROMPT_A1111, CN_PROMPT_SYNTAX_COUNT };

/* Whose random numbers: PyTorch's CPU generator (MT19937) or its CUDA one (Philox 4x32-10). */
enum cn_rng { CN_RNG_CPU, CN_RNG_CUDA, CN_RNG_COUNT };

/* Guidance branches that the control acts on. */
enum cn_branch { CN_BRANCH_BOTH, CN_BRANCH_COND, CN_BRANCH_COUNT };

/* Which of the N network calls a window from start to end holds: call i with start <= i/N and
 * (i+1)/N <= end, as in diffusers' pipelines, or with start <= i/N <= end, as in the ControlNet
 * extension of AUTOMATIC1111's program. */
enum cn_window { CN_WINDOW_DIFFUSERS, CN_WINDOW_A1111, CN_WINDOW_COUNT };

/* How strength is spread over the k levels: equal; 0.825^(k-1-i); h_0/h_i; or given numbers. */
enum cn_weighting { CN_W_UNIFORM, CN_W_SOFT, CN_W_RESOLUTION, CN_W_CUSTOM, CN_WEIGHTS_COUNT };

/* How an image of another size becomes the picture's size. */
enum cn_resize { CN_STRETCH, CN_CROP, CN_PAD, CN_RESIZE_COUNT };

/* What of a mask with transparent parts is painted: what it looks like (colours that speak for
 * themselves, strokes on an empty canvas, holes in a picture); what is opaque; what is
 * transparent. Of one without transparent parts, white is. */
enum cn_mask_alpha { CN_MASK_AUTO, CN_MASK_OPAQUE, CN_MASK_TRANSPARENT, CN_MASK_ALPHA_COUNT };

/* By whose rules a control map is resampled: Pillow's Lanczos, as diffusers' pipelines do (maps of
 * thin lines apart, which would fade); or as the ControlNet extension of AUTOMATIC1111's program
 * does, which looks at the map to choose, and pads with the border's median. */
enum cn_map_rules { CN_MAP_DIFFUSERS, CN_MAP_A1111, CN_MAP_RULES_COUNT };

/* What is under a mask when the painting begins: what was there; colours from around it; noise; or
 * a latent of zeros. Of a strength of 1 little is left of it. */
enum cn_mask_fill {
    CN_FILL_ORIGINAL,
    CN_FILL_AROUND,
    CN_FILL_NOISE,
    CN_FILL_NOTHING,
    CN_MASK_FILL_COUNT
};

/* Of two passes, those that a control acts in. Of one pass, all do. */
enum cn_passes { CN_PASSES_BOTH, CN_PASSES_FIRST, CN_PASSES_SECOND, CN_PASSES_COUNT };

/* Of a control's "resolution": the shorter side of what the picture is enlarged or shrunk to. */
enum { CN_RESOLUTION_PIXEL_PERFECT = -1, CN_MAX_RESOLUTION = 4096 };

struct cn_annotator_value {
    char name[CN_PARAM_NAME];
    double value;
};

enum cn_format { CN_PNG, CN_JPEG, CN_WEBP, CN_FORMAT_COUNT };

/* How the picture of the first pass becomes as large as the second's. The latent, as PyTorch's
 * interpolate: bilinear, nearest, nearest-exact, bicubic, each without or with antialiasing; or the
 * decoded picture, as Pillow resizes it, which is then encoded again. */
enum cn_upscaler {
    CN_UP_LATENT,
    CN_UP_LATENT_NEAREST,
    CN_UP_LATENT_NEAREST_EXACT,
    CN_UP_LATENT_ANTIALIASED,
    CN_UP_LATENT_BICUBIC,
    CN_UP_LATENT_BICUBIC_ANTIALIASED,
    CN_UP_NEAREST,
    CN_UP_BICUBIC,
    CN_UP_LANCZOS,
    CN_UPSCALER_COUNT
};

/* What makes the picture of the last latent: the model's autoencoder, or the worker's tiny one. */
enum cn_latent_decoder { CN_DECODER_VAE, CN_DECODER_TAESD, CN_DECODER_COUNT };

/* Encoded bytes of an image file; data is malloc'd and owned by the holder. len 0: absent. */
struct cn_blob {
    unsigned char *data;
    size_t len;
};

struct cn_spec_control {
    char *model; /* name of the ControlNet */
    struct cn_blob image;
    char *annotator;   /* "none": the image is the control map already */
    double strength;   /* [0,2] */
    double start, end; /* window as fractions of the network calls */
    enum cn_window window;
    enum cn_branch branch;
    enum cn_weighting weights;
    double weight[CN_CONTROL_LEVELS]; /* CN_W_CUSTOM: level 0 is the shallowest skip, then deeper */
    int n_weights; /* how many of them the request gave; the last is the middle */
    enum cn_resize resize;
    enum cn_map_rules rules;
    struct cn_annotator_value param[CN_MAX_ANNOTATOR_PARAMS]; /* those that are not as usual */
    int n_params;
    struct cn_blob mask; /* white is missing: of annotators that hide; absent: the request's */
    int resolution;      /* shorter side at which the annotator looks; 0: as the picture is drawn */
    bool return_map;     /* as a picture, behind those that are drawn */
    enum cn_passes passes;
    int only_image; /* the image of the batch that it acts on, counted from 1; 0: all */
};

/* A LoRA or one of its kin, which changes the model for this request. */
struct cn_spec_adapter {
    char *name;
    double strength;      /* of what it changes in the UNet */
    bool has_text;        /* false: the text encoders' is the same */
    double text_strength; /* of what it changes in them */
    int n_blocks;         /* 0: all blocks alike; else 12, 17, 20 or 26 factors */
    double block[CN_BLOCK_WEIGHTS];
};

/* What a model that was trained with the sizes of its pictures (SDXL) is told of them, pixels. A
 * side that is 0 is the picture's own. */
struct cn_spec_sizes {
    int original_width, original_height; /* that the picture is said to have had */
    int crop_left, crop_top;             /* where it is said to have been cut out of a larger one */
    int target_width, target_height;     /* that it is to have */
};

/* A second pass over a larger picture, from what the first one drew. */
struct cn_spec_hires {
    bool on;
    double scale;      /* of both sides, when width and height are 0 */
    int width, height; /* pixels of the second pass: no side is smaller than in the first */
    int steps;         /* that it takes; 0: as many as the first */
    double strength;   /* (0,1]: how much of the first one's picture may change */
    enum cn_upscaler upscaler;
    /* What the second pass has of its own. Left out, it is the first one's. */
    int sampler;                    /* enum cn_sampler, or CN_HIRES_SAME */
    int schedule;                   /* enum cn_schedule, or CN_HIRES_SAME */
    char *prompt, *negative_prompt; /* UTF-8; NULL: the same */
    double guidance_scale;
    bool has_guidance; /* false: the same */
};

enum { CN_HIRES_SAME = -1 };

struct cn_spec {
    enum cn_job_kind kind;
    char *model;                    /* "" means the server's default model */
    char *vae;                      /* an autoencoder in place of the model's own, which "" means */
    char *prompt, *negative_prompt; /* UTF-8 */
    bool zero_negative; /* zeros stand for a negative prompt that is empty, where a model's pipeline
                           has it so (SDXL); else it is encoded as any other */
    enum cn_prompt_syntax prompt_syntax;
    int width, height;              /* pixels; 0 means the model's own size */
    struct cn_spec_sizes sizes;
    int steps;
    double guidance_scale; /* <= 1 switches guidance off: one row per image */
    bool has_guidance;     /* false: the model's own default, if it has one */
    double guidance_rescale; /* [0,1]: how far guidance's result gets the prompt's own deviation */
    double pag_scale; /* perturbed-attention guidance (arXiv:2403.17377); 0: none, one row less */
    double pag_adaptive_scale; /* what the scale loses for each timestep away from the beginning */
    enum cn_sampler sampler;
    enum cn_schedule schedule;
    enum cn_spacing spacing;
    enum cn_rng rng;
    double eta; /* DDIM and TCD, [0,1]; 0: DDIM's own, and TCD's, which is 0.3 */
    uint64_t seed;
    bool has_seed; /* false: drawn from the operating system by whoever accepts the job */
    int n;         /* images; image i uses seed + i */
    /* Variations: noise on the way from the seed's to that of subseed + i; all have one seed. */
    double subseed_strength; /* [0,1]; 0: none */
    uint64_t subseed;
    bool has_subseed;            /* false: drawn as the seed is */
    int seed_width, seed_height; /* pixels: noise as of a picture of that size; 0: its own */
    int clip_skip; /* 0: the last layer of the text encoder. CN_PROMPT_PLAIN: k layers earlier, of
                      the prompt only; CN_PROMPT_A1111: 1 is the last one as well, k the k-th last,
                      of both prompts */
    struct cn_blob init_image; /* img2img, inpainting */
    struct cn_blob mask;       /* white is painted anew */
    struct cn_blob depth;      /* of init_image, near is white: for depth-to-image models */
    enum cn_resize resize;     /* of both */
    enum cn_mask_alpha mask_alpha;
    bool mask_invert;          /* black is */
    double mask_blur;          /* pixels (sigma) by which the mask's border is softened */
    enum cn_mask_fill mask_fill;
    bool mask_only;            /* the part around the mask is drawn, as large as the whole */
    int mask_padding;          /* pixels of init_image around it */
    enum cn_map_rules picture_rules; /* by whose rules init_image and mask are prepared */
    bool paste_back;           /* what the mask spares comes back from init_image as it was */
    double denoise;            /* img2img strength, [0,1]; 0: init_image as it is */
    struct cn_spec_hires hires;
    enum cn_latent_decoder decoder;
    enum cn_format format;
    int quality; /* JPEG and WebP, 1..100 */
    bool metadata; /* pictures say how they were made */
    bool same_seed; /* of all images: they differ by their control images */
    int preview_every;
    int priority;  /* -10..10 */
    int timeout_s; /* 0: the server's default */
    struct cn_spec_control control[CN_MAX_CONTROLS];
    int n_controls;
    struct cn_spec_adapter adapter[CN_MAX_ADAPTERS];
    int n_adapters;
};

/* What a server or a shell accepts. Zero means no limit for the counts of pixels and bytes. */
struct cn_limits {
    int max_steps, max_n, max_side, max_controls;
    long max_pixels;   /* width * height */
    size_t max_prompt; /* bytes */
};

#define CN_LIMITS_DEFAULTS                                                                         \
    {                                                                                              \
        .max_steps = 150, .max_n = 16, .max_side = 2048, .max_controls = CN_MAX_CONTROLS,          \
        .max_pixels = 2048L * 2048, .max_prompt = 4096                                             \
    }

void cn_spec_init(struct cn_spec *s);
void cn_spec_release(struct cn_spec *s);

/* Are there two rows for each image: with the prompt, and with the negative prompt? Guidance above
 * 1, or a sampler that needs both. */
bool cn_spec_is_guided(const struct cn_spec *s);

/* Rows of each image in every step, for who shares out the work: the engine counts the words AND
 * with all of Unicode's letters in mind, this one takes every byte beyond ASCII for a letter. */
int cn_spec_rows(const struct cn_spec *s);

/* Network calls of most of the sampler's steps. */
int cn_spec_calls_per_step(enum cn_sampler sampler);

/* ---- spec_hires.c ---- */

/* Pixels of the finished picture, when the first pass has width x height. */
void cn_spec_final_size(const struct cn_spec *s, int width, int height, int *ret_width,
                        int *ret_height);
/* Is the decoded picture enlarged, or its latent? */
bool cn_upscaler_is_pixel(enum cn_upscaler upscaler);
/* The second pass as a job of its own, without its size. *ret's texts and images are those of s;
 * ret->hires.steps is never 0. */
void cn_spec_second(const struct cn_spec *s, struct cn_spec *ret);
/* Steps of an img2img job of that strength that takes as many as the second pass wants. */
int cn_spec_hires_levels(const struct cn_spec *s);
/* Its size is looked at only when it is known: sides that are 0 are the model's own. */
int cn_spec_hires_check(const struct cn_spec *s, const struct cn_limits *limits,
                        struct cn_err *err);

/* ---- spec_sizes.c ---- */

/* Does the request say any of the sizes that a model is told? */
bool cn_spec_has_sizes(const struct cn_spec *s);
int cn_spec_sizes_check(const struct cn_spec *s, struct cn_err *err);

/* ---- spec_adapters.c ---- */

/* Appends an adapter of strength 1. NULL when CN_MAX_ADAPTERS are there. */
struct cn_spec_adapter *cn_spec_add_adapter(struct cn_spec *s);
/* Its factors of all blocks: 1 where none are given, 0 for blocks that the layout leaves out. The
 * layouts are those of the web UI's block weights: 12 and 20 numbers for SDXL, 17 and 26 for SD 1
 * and 2, the smaller of each with the blocks of attentions alone. */
void cn_spec_adapter_blocks(const struct cn_spec_adapter *a, double ret[CN_BLOCK_WEIGHTS]);
bool cn_spec_block_count_ok(int n);
int cn_spec_adapters_check(const struct cn_spec *s, struct cn_err *err);

/* ---- spec.c ---- */

/* All picture files that a description may bring, each once: file number k, or NULL behind the last
 * one. One that is absent has len 0. Rows of the store keep their lengths in this order: a new one
 * goes to the end. */
enum { CN_SPEC_FILES_MAX = 3 + 2 * CN_MAX_CONTROLS };
struct cn_blob *cn_spec_file(struct cn_spec *s, int k);
/* Of all of them together. */
size_t cn_spec_image_bytes(const struct cn_spec *s);

/* Pictures that the job makes: n, and behind them the control maps that were asked for. */
int cn_spec_pictures(const struct cn_spec *s);
/* The control whose map picture number k is; -1: it is one that was drawn. */
int cn_spec_map_of(const struct cn_spec *s, int k);
/* The seed of picture number k, and what it is a variation towards. */
uint64_t cn_spec_seed_of(const struct cn_spec *s, int k);
uint64_t cn_spec_subseed_of(const struct cn_spec *s, int k);
/* JSON pointer of control i's field, as the request of this kind has it. */
void cn_spec_control_where(const struct cn_spec *s, int i, const char *field, char *text,
                           size_t size);

/* Is call number "call" of "calls" inside the control's window? */
bool cn_spec_in_window(const struct cn_spec_control *c, int call, int calls);

/* Appends a control with its defaults (strength 1, whole window, both branches, uniform).
 * NULL when CN_MAX_CONTROLS are there. */
struct cn_spec_control *cn_spec_add_control(struct cn_spec *s);

/* CN_EINVAL or CN_ETOOBIG with err->where a JSON pointer; CN_OK when every field is in range. */
int cn_spec_check(const struct cn_spec *s, const struct cn_limits *limits, struct cn_err *err);

/* A fresh 53-bit seed (exact in every JSON reader) from the operating system. */
uint64_t cn_random_seed(void);

/* Names as requests spell them ("euler_a"). cn_enum_find returns the value or -1. */
struct cn_enum {
    const char *kind; /* "sampler": for messages */
    const char *const *name;
    int count;
};

extern const struct cn_enum cn_enum_job_kind, cn_enum_sampler, cn_enum_schedule, cn_enum_spacing,
    cn_enum_rng, cn_enum_prompt_syntax, cn_enum_upscaler, cn_enum_decoder, cn_enum_branch,
    cn_enum_weights, cn_enum_resize, cn_enum_mask_alpha, cn_enum_mask_fill, cn_enum_map_rules,
    cn_enum_passes, cn_enum_format;

int cn_enum_find(const struct cn_enum *e, const char *name);

/* Writes "a, b or c" (all names) for messages and help texts. */
void cn_enum_list(const struct cn_enum *e, char *text, size_t size);

#endif
