/* Models of random weights for tests, and a folder to put them in. */
#ifndef CN_TESTS_CHECKPOINT_MAKE_H
#define CN_TESTS_CHECKPOINT_MAKE_H

#include "base/base.h"
#include "base/mem.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/names.h"

/* Tensors to be written; names and data live in the arena. */
struct make {
    struct cn_tensor_view *view;
    size_t n, cap;
    struct cn_arena arena;
    uint32_t seed;
    /* how make_expected() names what it is given */
    const char *prefix;
    enum cn_component comp;
    const struct cn_layout *ldm; /* NULL: diffusers names */
    enum cn_dtype dtype;
    bool flat; /* 1x1 convolutions as [c, c] */
};

void make_init(struct make *m);
void make_release(struct make *m);
void make_add(struct make *m, const char *name, enum cn_dtype t, int rank, const int64_t *dim);

/* A cn_expect_fn with a struct make as its context. */
void make_expected(void *ctx, const char *name, int rank, const int64_t *dim);

void make_write(const struct make *m, const char *path); /* asserts success */

/* Both views have the same bytes, wherever they are. */
void assert_same_bytes(const struct cn_tensor_view *a, const struct cn_tensor_view *b);

/* A fresh folder below the current one; removed with everything in it. */
char *make_folder(void);
void make_remove(char *folder);

void make_text(const char *text, const char *fmt, ...) CN_PRINTF(2, 3); /* text to a file */
void make_dir(const char *fmt, ...) CN_PRINTF(1, 2);

/* Small configurations, and those of SD 1.5. */
extern const struct cn_unet_config tiny_unet, sd15_unet;
extern const struct cn_vae_config tiny_vae, sd15_vae;
extern const struct cn_text_config tiny_text, sd15_text;
extern const struct cn_control_config tiny_control, sd15_control;
extern const struct cn_layout tiny_layout, sd15_layout, tiny_vae_layout, sd15_vae_layout;

#endif
