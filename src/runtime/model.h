/* One model: its checkpoint, which is always open, and its networks, which are loaded or not.
 *
 * Owning worker.
 */
#ifndef CN_RUNTIME_MODEL_H
#define CN_RUNTIME_MODEL_H

#include "runtime/network.h"
#include "text/tokenizer.h"

enum { CN_MAX_LATENT_CHANNELS = 64 };

/* What can be done with a model. */
enum cn_model_role {
    CN_ROLE_BASE, /* draws */
    CN_ROLE_CONTROL,
    CN_ROLE_VAE /* an autoencoder alone, which base models take instead of their own */
};

/* "a base model", "a ControlNet", "an autoencoder" */
const char *cn_role_title(enum cn_model_role role);

/* A linear guess at the colours of a latent, for previews. */
struct cn_rgb_map {
    bool made, usable;
    int channels;
    double scaling, shift; /* of the latents: models that share an autoencoder may differ */
    float weight[3][CN_MAX_LATENT_CHANNELS + 1]; /* the last one is added */
};

/* The network of a ControlNet. */
struct cn_control_net {
    const struct cn_model *base; /* NULL unless a difference net */
    struct cn_network net;
};

struct cn_model {
    char *name, *path, *broken;
    struct cn_checkpoint *checkpoint;
    enum cn_model_role role;
    /* Of a base model. */
    struct cn_text_encoder {
        struct cn_tokenizer *tokenizer;
        struct cn_triggers *triggers; /* token_rows.c; NULL: nobody asked */
        uint64_t triggers_of;         /* the number of their list of embeddings */
        struct cn_tensor_view table;  /* token_rows.c: of tokens, set with position */
        float *position;              /* [max_position, hidden]; NULL: not read yet */
        struct cn_network net;
    } text[CN_MAX_TEXTS];
    int n_texts; /* that the checkpoint has */
    struct cn_network unet, vae;
    enum cn_dtype vae_dtype; /* of the autoencoder's plans; CN_DTYPE_COUNT: the backend's own */
    struct cn_rgb_map rgb;
    /* Of a ControlNet; a difference net has one for each base it is loaded with. Weights point into
     * them, so each is a block of its own; they stay until cn_model_free(). */
    struct cn_control_net **nets;
    size_t n_nets, nets_cap;
    uint64_t version;      /* of its files: version.h */
    bool retired;          /* not listed any more */
    int holders;           /* jobs that know it */
    int users;             /* jobs that it must stay resident for */
    uint64_t used;         /* of the runtime's clock */
    size_t reported_bytes; /* as hooks.model was told last */
    size_t peak_bytes;     /* the most that it had when it was resident; 0: never was */
};

/* path is opened; a model that cannot be used is one with broken set, and the reason in err. */
int cn_model_new(char *name, const char *path, enum cn_ema_choice ema, struct cn_model **ret,
                 struct cn_err *err);
void cn_model_free(struct cn_model *m);

/* Tokenizers and weight stores of a base model; nothing is read from the weights yet. */
int cn_model_open(struct cn_model *m, struct cn_backend *backend, struct cn_err *err);
/* The weight store of the autoencoder of a base model or of one alone. */
int cn_model_open_vae(struct cn_model *m, struct cn_backend *backend, struct cn_err *err);
/* The network of a ControlNet for work with this base model. */
int cn_model_control(struct cn_model *m, struct cn_backend *backend, const struct cn_model *base,
                     struct cn_network **ret, struct cn_err *err);
/* Gives up what was loaded; it can be opened again. */
void cn_model_close(struct cn_model *m);
/* Gives up the networks of a difference ControlNet that read this base's file; the base may be
 * freed then. */
void cn_model_close_for_base(struct cn_model *m, const struct cn_model *base);

bool cn_model_loaded(const struct cn_model *m);
size_t cn_model_bytes(const struct cn_model *m);
int cn_model_plan_count(const struct cn_model *m);
void cn_model_evict_plans(struct cn_model *m); /* cn_network_evict_plans() of all of them */
void cn_model_rest(struct cn_model *m);        /* cn_network_rest() of all of them */
/* After numbers of the autoencoder were not finite: its plans get a type of wider range from now
 * on. False: there is none. */
bool cn_model_widen_vae(struct cn_model *m, const struct cn_backend *backend);
/* The i-th of its networks; NULL after the last. For sums over all of them. */
const struct cn_network *cn_model_network(const struct cn_model *m, size_t i);

#endif
