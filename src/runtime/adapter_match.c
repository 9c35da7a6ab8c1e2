/* The layers of a model by all their names, and an adapter's parts looked up in them. */
#include "base/base.h"
#include "runtime/adapter_match.h"
#include "base/spec.h"
#include "base/strmap.h"
#include "checkpoint/names.h"
#include "model/expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A layer of the model. */
struct site {
    const char *name;
    struct cn_layer layer;
    bool multiplies;
    int block;
};

struct sites {
    struct cn_arena *arena;
    enum cn_component comp;    /* that is being listed */
    struct cn_layout layout;   /* of LDM's names; UNet only */
    struct cn_strmap map[CN_COMP_COUNT]; /* flat name -> site */
    struct cn_strmap name[CN_COMP_COUNT]; /* diffusers' name -> site */
};

/* ---- the model's layers ---- */

/* "input_blocks.4.1.proj_in" is in block IN04: 1 + 4. */
static int block_of(const char *ldm)
{
    static const struct {
        const char *head;
        int first;
    } kinds[] = {{"input_blocks.", 1}, {"output_blocks.", 14}};

    if (strncmp(ldm, "middle_block.", 13) == 0)
        return 13;
    for (size_t i = 0; i < CN_LEN(kinds); i++)
        if (strncmp(ldm, kinds[i].head, strlen(kinds[i].head)) == 0) {
            int at = atoi(ldm + strlen(kinds[i].head));

            return at < 12 ? kinds[i].first + at : -1;
        }
    return -1;
}

static void add_name(struct sites *s, const char *name, struct site *site)
{
    char flat[CN_MODEL_NAME];
    size_t n = strlen(name);

    if (n >= sizeof(flat))
        return;
    for (size_t i = 0; i <= n; i++)
        flat[i] = name[i] == '.' ? '_' : name[i];
    cn_strmap_add(&s->map[s->comp], flat, site);
}

/* The layer of a tensor called NAME.weight or NAME.bias; a new one when there is none. */
static struct site *site_of(struct sites *s, const char *name)
{
    struct site *site = cn_strmap_get(&s->name[s->comp], name);
    char ldm[CN_MODEL_NAME], *full;

    if (site != NULL)
        return site;
    site = cn_arena_alloc(s->arena, sizeof(*site));
    site->name = cn_arena_strdup(s->arena, name);
    site->block = s->comp == CN_COMP_UNET ? -1 : 0;
    cn_strmap_add(&s->name[s->comp], name, site);
    add_name(s, name, site);
    if (s->comp != CN_COMP_UNET)
        return site;
    full = cn_xprintf("%s.weight", name);
    if (cn_name_to_ldm(CN_COMP_UNET, &s->layout, full, ldm, sizeof(ldm))) {
        site->block = block_of(ldm);
        ldm[strlen(ldm) - strlen(".weight")] = '\0';
        add_name(s, ldm, site);
    }
    free(full);
    return site;
}

static void add_tensor(void *ctx, const char *name, int rank, const int64_t *dim)
{
    static const char *const endings[] = {".weight", ".bias"};
    struct sites *s = ctx;
    size_t n = strlen(name);

    if (strstr(name, "embeddings.") != NULL) /* looked up, not multiplied */
        return;
    for (size_t i = 0; i < CN_LEN(endings); i++) {
        size_t len = strlen(endings[i]);
        char path[CN_MODEL_NAME];
        struct site *site;

        if (n <= len || n >= sizeof(path) || strcmp(name + n - len, endings[i]) != 0)
            continue;
        snprintf(path, sizeof(path), "%.*s", (int)(n - len), name);
        site = site_of(s, path);
        if (i == 1) {
            site->layer.has_bias = true;
            continue;
        }
        site->layer.out = dim[0];
        site->layer.in = rank > 1 ? dim[1] : 1;
        site->layer.taps = rank > 3 ? dim[2] * dim[3] : 1;
    }
}

static void mark_site(void *ctx, const struct cn_site *of)
{
    struct sites *s = ctx;
    struct site *site = cn_strmap_get(&s->name[s->comp], of->name);

    if (site != NULL)
        site->multiplies = true;
}

static void list_sites(struct sites *s, const struct cn_checkpoint *base)
{
    const struct cn_unet_config *u = cn_checkpoint_unet(base);
    const struct cn_text_config *t;

    for (int c = 0; c < CN_COMP_COUNT; c++) {
        cn_strmap_init(&s->map[c]);
        cn_strmap_init(&s->name[c]);
    }
    for (int i = 0; (t = cn_checkpoint_text(base, i)) != NULL; i++) {
        s->comp = (enum cn_component)(CN_COMP_TEXT + i);
        cn_expect_text(t, add_tensor, s);
        cn_sites_text(t, mark_site, s);
    }
    s->comp = CN_COMP_UNET;
    s->layout = (struct cn_layout){.levels = u->blocks, .layers = u->layers_per_block};
    memcpy(s->layout.up_attention, u->up_attention, sizeof(s->layout.up_attention));
    cn_expect_unet(u, add_tensor, s);
    cn_sites_unet(u, mark_site, s);
}

static void free_sites(struct sites *s)
{
    for (int c = 0; c < CN_COMP_COUNT; c++) {
        cn_strmap_release(&s->map[c]);
        cn_strmap_release(&s->name[c]);
    }
}

/* ---- the adapter's parts ---- */

static void unmatched(struct cn_adapter_match *m, const char *what)
{
    if (m->first_unmatched[0] == '\0')
        snprintf(m->first_unmatched, sizeof(m->first_unmatched), "%s", what);
}

static void match_part(struct cn_adapter_match *m, const struct sites *s,
                       const struct cn_adapter_part *p)
{
    const struct site *site = cn_strmap_get(&s->map[p->comp], p->site);
    struct cn_err why = CN_ERR_INIT;

    if (site == NULL) {
        unmatched(m, p->key);
        return;
    }
    if (cn_adapter_fits(p, &site->layer, &why) < 0) {
        unmatched(m, why.msg);
        return;
    }
    m->pair = cn_grow(m->pair, m->n, &m->cap, sizeof(*m->pair));
    m->pair[m->n++] = (struct cn_adapter_pair){.part = p,
                                               .name = site->name,
                                               .layer = site->layer,
                                               .multiplies = site->multiplies,
                                               .block = site->block};
    m->matched_keys += (size_t)__builtin_popcount(p->roles);
}

int cn_adapter_match(const struct cn_adapter *a, const struct cn_checkpoint *base,
                     struct cn_adapter_match *ret, struct cn_err *err)
{
    struct cn_adapter_match m = {.keys = a->keys};
    struct sites s = {.arena = &m.arena};

    cn_arena_init(&m.arena);
    list_sites(&s, base);
    for (size_t i = 0; i < a->n_parts; i++)
        match_part(&m, &s, &a->part[i]);
    free_sites(&s);
    if (a->first_strange != NULL)
        unmatched(&m, a->first_strange);
    if (m.matched_keys == 0 || m.matched_keys * 2 < m.keys) {
        int rc = cn_fail(err, CN_EINVAL,
                         "it is %s, and %zu of its %zu tensors fit this model (the first that "
                         "does not: %s)",
                         a->is.what, m.matched_keys, m.keys, m.first_unmatched);

        cn_adapter_match_release(&m);
        return rc;
    }
    *ret = m;
    return CN_OK;
}

void cn_adapter_match_release(struct cn_adapter_match *m)
{
    cn_arena_release(&m->arena);
    free(m->pair);
}

double cn_adapter_strength(const struct cn_adapter_use *u, const struct cn_adapter_pair *p)
{
    double strength = p->part->comp == CN_COMP_UNET ? u->unet : u->text;

    return p->block >= 0 ? strength * u->block[p->block] : strength;
}
