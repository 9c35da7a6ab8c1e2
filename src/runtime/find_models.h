/* Looks for models below a directory: diffusers directories and files of weights, also in folders
 * inside of it, and in the cache of Hugging Face's libraries (models--ORGANISATION--NAME).
 *
 * Nothing is opened: what a file holds is found out by whoever is told of it. What lies directly in
 * the directory comes first, then what is in its folders, level by level, each in the order of the
 * names; so a new folder takes no name from what was there. Autoencoders that are named as such, or
 * lie in a folder VAE, come last. Any thread.
 *
 *     static void found(void *ctx, const struct cn_found_model *m) { ... }
 *     struct cn_model_finder f = {.found = found, .passed_over = passed_over};
 *     if (cn_find_models("models", &f, err) < 0) ...
 */
#ifndef CN_RUNTIME_FIND_MODELS_H
#define CN_RUNTIME_FIND_MODELS_H

#include "base/base.h"

struct cn_found_model {
    const char *path;
    const char *name;   /* of the file or folder; of a repository in the cache its own */
    const char *folder; /* that it lies in; of a repository who owns it. "": none */
};

struct cn_model_finder {
    void (*found)(void *ctx, const struct cn_found_model *m);
    /* Something that looks like a model, or lies where models are, and is none. May be NULL. */
    void (*passed_over)(void *ctx, const char *path, const char *why);
    void *ctx;
};

/* CN_ENOTFOUND when there is no such directory; CN_EIO. What cannot be read below it is passed
 * over. */
int cn_find_models(const char *dir, const struct cn_model_finder *f, struct cn_err *err);

#endif
