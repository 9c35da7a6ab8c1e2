/* The tensors of a checkpoint while it is put together: files, and for each component a list that
 * is sorted by diffusers name. What directories and single files have in common; knows neither
 * form. */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *cn_component_name(enum cn_component comp)
{
    static const char *const names[CN_COMP_COUNT] = {
        [CN_COMP_TEXT] = "text encoder",
        [CN_COMP_TEXT_2] = "text encoder 2",
        [CN_COMP_UNET] = "unet",
        [CN_COMP_VAE] = "vae",
        [CN_COMP_CONTROL] = "controlnet",
    };

    return (unsigned)comp < CN_COMP_COUNT ? names[comp] : "?";
}

int cn_checkpoint_add_file(struct cn_checkpoint *c, const char *path, struct cn_tensor_file **ret,
                           struct cn_err *err)
{
    int rc = cn_tensor_file_open(path, ret, err);

    if (rc < 0)
        return rc;
    c->file = cn_grow(c->file, c->files, &c->file_cap, sizeof(struct cn_tensor_file *));
    c->file[c->files++] = *ret;
    return CN_OK;
}

void cn_checkpoint_add(struct cn_checkpoint *c, enum cn_component comp, const char *name,
                       const struct cn_tensor_view *v)
{
    cn_tensors_add(&c->comp[comp], name, v);
}

void cn_tensors_add(struct cn_component_tensors *k, const char *name,
                    const struct cn_tensor_view *v)
{
    k->view = cn_grow(k->view, k->count, &k->cap, sizeof(*k->view));
    k->view[k->count] = *v;
    k->view[k->count++].name = name;
    k->present = true;
}

static int compare_views(const void *a, const void *b)
{
    const struct cn_tensor_view *x = a, *y = b;

    return strcmp(x->name, y->name);
}

int cn_checkpoint_sort(struct cn_checkpoint *c, enum cn_component comp, struct cn_err *err)
{
    struct cn_component_tensors *k = &c->comp[comp];

    if (k->count > 0)
        qsort(k->view, k->count, sizeof(*k->view), compare_views);
    for (size_t i = 1; i < k->count; i++)
        if (strcmp(k->view[i - 1].name, k->view[i].name) == 0)
            return cn_fail(err, CN_EFORMAT, "\"%s\": two tensors for \"%s\" of the %s",
                           k->view[i].file, k->view[i].name, cn_component_name(comp));
    return CN_OK;
}

const struct cn_tensor_view *cn_checkpoint_get(const struct cn_checkpoint *c,
                                               enum cn_component comp, const char *name)
{
    const struct cn_component_tensors *k = &c->comp[comp];
    struct cn_tensor_view key = {.name = name};

    if (k->count == 0)
        return NULL;
    return bsearch(&key, k->view, k->count, sizeof(key), compare_views);
}

bool cn_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

size_t cn_checkpoint_ending(const char *path)
{
    static const char *const endings[] = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"};
    size_t len = strlen(path);

    for (size_t i = 0; i < CN_LEN(endings); i++) {
        size_t n = strlen(endings[i]);

        if (len > n && path[len - n - 1] != '/' && strcasecmp(path + len - n, endings[i]) == 0)
            return n;
    }
    return 0;
}

const char *cn_checkpoint_canonical(struct cn_checkpoint *c, enum cn_component comp,
                                    const char *name)
{
    static const char *const attention[][2] = {{".query.", ".to_q."},
                                               {".key.", ".to_k."},
                                               {".value.", ".to_v."},
                                               {".proj_attn.", ".to_out.0."}};

    /* Before diffusers 0.18 the autoencoder's attention had names of its own. */
    for (size_t i = 0; comp == CN_COMP_VAE && i < CN_LEN(attention); i++) {
        const char *at = strstr(name, attention[i][0]);

        if (at != NULL && strstr(name, ".attentions.") != NULL)
            return cn_arena_printf(&c->arena, "%.*s%s%s", (int)(at - name), name, attention[i][1],
                                   at + strlen(attention[i][0]));
    }
    /* transformers 5 writes CLIPTextModel without its outer name. */
    if (comp <= CN_COMP_TEXT_2 && strncmp(name, "text_model.", 11) != 0 &&
        (strncmp(name, "encoder.", 8) == 0 || strncmp(name, "embeddings.", 11) == 0 ||
         strncmp(name, "final_layer_norm.", 17) == 0))
        return cn_arena_printf(&c->arena, "text_model.%s", name);
    return name;
}
