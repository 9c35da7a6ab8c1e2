/* What a model's configuration files say, as plain data: sizes and kinds of the networks.
 *
 * Filled by checkpoint/ from config.json (or inferred from the tensors of a single file), read by
 * model/ which emits the networks. No ownership, no threads. Names follow diffusers'
 * configuration keys.
 */
#ifndef CN_CHECKPOINT_CONFIG_H
#define CN_CHECKPOINT_CONFIG_H

#include "base/base.h"
#include "kernels/types.h"

enum { CN_MAX_BLOCKS = 6, CN_MAX_HINT = 8 };

/* Numbers that a row is told beside the pooled text: height and width that the picture is said to
 * have had, the top and left edge at which it was cut, height and width that it is to have. */
enum { CN_ADD_NUMBERS = 6 };

enum cn_prediction { CN_PREDICT_EPSILON, CN_PREDICT_V };

/* eos_token of configurations from before transformers 4.30, where the end of a text is its largest
 * id, whatever the tokenizer's end token is. */
enum { CN_OLD_EOS = 2 };

/* CLIPTextModel, CLIPTextModelWithProjection */
struct cn_text_config {
    int vocab_size, hidden_size, layers, heads, intermediate_size, max_position;
    enum cn_activation act; /* CN_QUICK_GELU or CN_GELU */
    double layer_norm_eps;
    int eos_token, bos_token, pad_token;
    int projection;   /* rows of text_projection, which makes the pooled vector; 0: none */
    bool penultimate; /* the UNet reads the layer before the last, without the final norm; else the
                         last one through it */
};

/* UNet2DConditionModel; the encoder half also describes a ControlNetModel */
struct cn_unet_config {
    int in_channels, out_channels;
    int sample_height, sample_width; /* sample_size: cells of the model's own size; 0: not said */
    int blocks;                      /* resolution levels */
    int channels[CN_MAX_BLOCKS];     /* block_out_channels */
    bool down_attention[CN_MAX_BLOCKS]; /* CrossAttnDownBlock2D rather than DownBlock2D */
    bool up_attention[CN_MAX_BLOCKS];   /* CrossAttnUpBlock2D rather than UpBlock2D, in up order */
    bool mid_attention;                 /* UNetMidBlock2DCrossAttn */
    int layers_per_block;
    int heads[CN_MAX_BLOCKS];        /* number of heads per level (diffusers' attention_head_dim) */
    int transformer_layers[CN_MAX_BLOCKS]; /* transformer_layers_per_block */
    int cross_attention_dim;
    int norm_groups;
    double norm_eps;
    bool linear_projection; /* proj_in and proj_out are linear layers on tokens (SD 2) */
    bool flip_sin_to_cos;
    int freq_shift;
    int time_cond_proj_dim; /* LCM guidance embedding; 0: none */
    /* "text_time": a row is told a vector beside its time, the pooled text and then some numbers
     * (sizes), each as a sinusoid. */
    int add_dim;      /* its width (projection_class_embeddings_input_dim); 0: there is none */
    int add_time_dim; /* of each number's sinusoid (addition_time_embed_dim); 0: not said */
};

/* ControlNetModel: the encoder of unet, and the hint encoder */
struct cn_control_config {
    struct cn_unet_config unet;
    int hint_channels;             /* conditioning_channels: 3 */
    int hint_blocks;               /* entries of conditioning_embedding_out_channels */
    int hint_out[CN_MAX_HINT];
    bool bgr;                      /* controlnet_conditioning_channel_order */
    bool global_pool;              /* global_pool_conditions */
};

/* AutoencoderKL */
struct cn_vae_config {
    int in_channels, out_channels, latent_channels;
    int blocks;
    int channels[CN_MAX_BLOCKS]; /* block_out_channels; factor is 2^(blocks-1) */
    int layers_per_block;
    int norm_groups;
    bool mid_attention, use_quant_conv, use_post_quant_conv;
    bool decoder_only; /* latents to pictures, and not the other way */
    double scaling_factor, shift_factor;
};

/* Keys of scheduler_config.json for which diffusers' classes have different defaults: where the
 * file does not hold one, the class of the sampler in use decides, as from_config() does. */
enum cn_schedule_key {
    CN_KEY_BETA_START = 1 << 0,
    CN_KEY_BETA_END = 1 << 1,
    CN_KEY_BETA_SCHEDULE = 1 << 2,
    CN_KEY_ALPHA_TO_ONE = 1 << 3,
    CN_KEY_CLIP_SAMPLE = 1 << 4,
    CN_KEY_SKIP_PRK = 1 << 5
};

/* Settings that some classes have and nothing here does: samplers of those classes refuse to draw
 * with a model that asks for one. */
enum cn_undone {
    CN_UNDONE_ALGORITHM,     /* algorithm_type: dpmsolver, sde-dpmsolver */
    CN_UNDONE_FLOW,          /* use_flow_sigmas */
    CN_UNDONE_INTERPOLATION, /* interpolation_type: log_linear */
    CN_UNDONE_CONTINUOUS,    /* timestep_type: continuous */
    CN_UNDONE_CORRECTOR,     /* disable_corrector */
    CN_UNDONE_PREDICT_X0,    /* predict_x0: false */
    CN_UNDONE_SOLVER_P,      /* solver_p */
    CN_UNDONE_VARIANCE,      /* variance_type */
    CN_UNDONE_THIRD_ORDER,   /* solver_order: 3, which UniPC has not here */
    CN_UNDONE_FULL_ORDER,    /* lower_order_final: false, which UniPC has not here */
    CN_UNDONE_COUNT
};

/* The settings of the sampler itself; all zeros are diffusers' defaults. */
struct cn_solver_config {
    enum cn_file_sigmas {
        CN_SIGMAS_OF_TIMESTEPS,
        CN_SIGMAS_KARRAS,
        CN_SIGMAS_EXPONENTIAL,
        CN_SIGMAS_BETA
    } sigmas;                    /* use_karras_sigmas and its like */
    bool lu_lambdas;             /* use_lu_lambdas */
    int order;                   /* solver_order; 0: 2 */
    enum cn_solver_type {
        CN_SOLVER_USUAL,         /* midpoint, bh2, logrho: each class takes its own */
        CN_SOLVER_HEUN,
        CN_SOLVER_BH1
    } type;                      /* solver_type */
    bool ends_at_sigma_min;      /* final_sigmas_type: sigma_min rather than zero */
    bool full_order_final;       /* lower_order_final: false */
    bool euler_at_final;
    bool clips_lambda;           /* lambda_min_clipped is there: */
    double lambda_min;
    double sigma_min, sigma_max; /* 0: not given */
    int original_steps;          /* original_inference_steps; 0: 50 */
    double timestep_scaling;     /* 0: 10 */
    double clip_range;           /* clip_sample_range; 0: 1 */
    unsigned undone;             /* 1 << enum cn_undone */
};

/* scheduler_config.json */
struct cn_schedule_config {
    int train_steps;          /* num_train_timesteps */
    double beta_start, beta_end;
    enum cn_beta { CN_BETA_LINEAR, CN_BETA_SCALED_LINEAR, CN_BETA_COSINE } beta_schedule;
    enum cn_prediction prediction;
    int spacing;              /* enum cn_spacing; CN_SPACING_MODEL when the file does not say */
    int steps_offset;
    bool set_alpha_to_one;
    bool rescale_zero_snr;    /* rescale_betas_zero_snr */
    bool clip_sample;
    bool prk_steps;           /* skip_prk_steps: false */
    unsigned absent;          /* enum cn_schedule_key: what the file does not hold */
    struct cn_solver_config solver;
};

#endif
