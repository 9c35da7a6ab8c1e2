/* Files of adapters: what a fine-tuning changes in a base model, layer by layer. LoRA (arXiv
 * 2106.09685) and its kin, in every naming in use: kohya's with diffusers' and with LDM's names of
 * the blocks, diffusers' of 2023, of the middle and of today, PEFT's directories, OneTrainer's,
 * LyCORIS', and plain LDM names.
 *
 * A reader turns the file's tensors into parts: one for each layer that is changed. A part names
 * its layer by its *site*: the layer's path in diffusers' (or LDM's) naming with '_' for '.',
 * because that is all that kohya's names tell; who knows the network matches them
 * (runtime/adapter_match.h). Nothing of the tensors is read here but the scalars that belong to the
 * structure (alpha and its like).
 *
 * Any thread; an open adapter never changes.
 *
 *     struct cn_adapter *a;
 *     if (cn_adapter_open("detail.safetensors", &a, err) < 0) ...
 *     for (size_t i = 0; i < a->n_parts; i++) printf("%s\n", a->part[i].site);
 *     cn_adapter_close(a);
 */
#ifndef CN_CHECKPOINT_ADAPTER_H
#define CN_CHECKPOINT_ADAPTER_H

#include "base/mem.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/classify.h"

/* What a part's tensors mean; the shapes are those of a layer of weight [out, in, k, k]. */
enum cn_adapter_form {
    CN_ADAPTER_LORA,  /* up . down, with a core in between (Tucker) where there is one */
    CN_ADAPTER_LOHA,  /* (w1_a . w1_b) o (w2_a . w2_b) */
    CN_ADAPTER_LOKR,  /* w1 (x) w2 */
    CN_ADAPTER_IA3,   /* W o w, along its rows or columns */
    CN_ADAPTER_OFT,   /* R . W, R of orthogonal blocks */
    CN_ADAPTER_BOFT,  /* the same, a product of several R with permutations (butterflies) */
    CN_ADAPTER_GLORA, /* W . A + B */
    CN_ADAPTER_FULL,  /* the difference itself, of weights, biases and norms */
    CN_ADAPTER_FORM_COUNT
};

enum cn_adapter_role {
    CN_ROLE_UP, CN_ROLE_DOWN, CN_ROLE_MID,
    CN_ROLE_W1, CN_ROLE_W1_A, CN_ROLE_W1_B, CN_ROLE_T1, /* hada_*, lokr_* */
    CN_ROLE_W2, CN_ROLE_W2_A, CN_ROLE_W2_B, CN_ROLE_T2,
    CN_ROLE_SCALES, CN_ROLE_ON_INPUT, /* (IA)3 */
    CN_ROLE_BLOCKS, CN_ROLE_DIAG, CN_ROLE_RESCALE, /* OFT; DIAG: R itself */
    CN_ROLE_A1, CN_ROLE_A2, CN_ROLE_B1, CN_ROLE_B2, /* GLoRA */
    CN_ROLE_DIFF, CN_ROLE_DIFF_BIAS,
    CN_ROLE_MAGNITUDE, /* DoRA (arXiv 2402.09353) */
    CN_ROLE_ALPHA, CN_ROLE_SCALE,
    CN_ROLE_COUNT
};

struct cn_adapter_part {
    enum cn_component comp; /* CN_COMP_UNET, CN_COMP_TEXT or CN_COMP_TEXT_2 */
    const char *site;       /* "down_blocks_0_attentions_0_..._to_q" */
    const char *key;        /* of one of its tensors, for messages */
    enum cn_adapter_form form;
    int64_t rank;           /* 0: the form has none */
    double scale;           /* alpha / rank where the form has that; 1 where nothing is said */
    double constraint;      /* OFT: alpha, which bounds the rotation; 0: nothing does */
    bool on_input;          /* (IA)3: along the columns */
    unsigned roles;         /* 1 << role for each tensor that is there */
    struct cn_tensor_view tensor[CN_ROLE_COUNT];
};

struct cn_adapter {
    struct cn_tensor_file *file;
    struct cn_arena arena;
    struct cn_file_class is;
    struct cn_adapter_part *part; /* in the order of their first keys */
    size_t n_parts, parts_cap;
    size_t keys;                  /* tensors of the file, without those that mean nothing */
    size_t strange;               /* of them: that no form has */
    const char *first_strange;
};

/* path: a file, or a directory of PEFT's with adapter_config.json. CN_EFORMAT when it is something
 * else, which the message names; a file of which not all is understood can be opened. */
int cn_adapter_open(const char *path, struct cn_adapter **ret, struct cn_err *err);
void cn_adapter_close(struct cn_adapter *a); /* NULL is fine */

/* Is there a file of weights in this directory that PEFT has saved? To be free()d; else NULL. */
char *cn_adapter_in_dir(const char *dir);

/* "LoRA", "LoHa", ... and of the parts of a file "LoRA, DoRA"; cut to size. */
const char *cn_adapter_form_name(enum cn_adapter_form form);
void cn_adapter_kinds(const struct cn_adapter *a, char *text, size_t size);
/* The least and the greatest rank; 0 and 0 when no part has one. */
void cn_adapter_ranks(const struct cn_adapter *a, int64_t *ret_min, int64_t *ret_max);
/* The words that the trainer says the adapter is called by, most frequent first, as "a, b"; "" when
 * the file does not tell. At most `max` of them, cut to size. */
void cn_adapter_triggers(const struct cn_adapter *a, int max, char *text, size_t size);
/* The value of a note of the file's (ss_base_model_version ...), or NULL. */
const char *cn_adapter_note(const struct cn_adapter *a, const char *key);

/* A tensor's elements as floats: *ret is the caller's to free. CN_EFORMAT for values that are not
 * numbers and types that we do not compute with. */
int cn_adapter_read(const struct cn_tensor_view *v, float **ret, struct cn_err *err);

#endif
