/* What "controlnet inspect" finds out about a model, for inspect_print.c to show. Weights are not
 * read. */
#include "base/base.h"
#include "cli/inspected.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/expect.h"
#include "text/tokenizer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is wrong ---- */

static void complain(struct cn_inspected *m, const char *fmt, ...) CN_PRINTF(2, 3);

static void complain(struct cn_inspected *m, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    m->problem = cn_grow(m->problem, m->n_problems, &m->problems_cap, sizeof(*m->problem));
    m->problem[m->n_problems++] = cn_xstrdup(text);
}

static void keep_finding(void *ctx, const struct cn_finding *f)
{
    struct cn_inspected *m = ctx;

    m->finding = cn_grow(m->finding, m->n_findings, &m->findings_cap, sizeof(*m->finding));
    m->finding[m->n_findings] = *f;
    m->finding[m->n_findings++].name = cn_xstrdup(f->name);
}

bool cn_inspected_bad(const struct cn_inspected *m)
{
    for (size_t i = 0; i < m->n_findings; i++)
        if (m->finding[i].kind != CN_FINDING_UNEXPECTED)
            return true;
    return m->n_problems > 0;
}

/* A pipeline draws only with all three networks. */
static void check_parts(struct cn_inspected *m)
{
    static const enum cn_component needed[] = {CN_COMP_TEXT, CN_COMP_UNET, CN_COMP_VAE};

    if (!m->r.part[CN_COMP_UNET].present && m->r.kind != CN_CKPT_PIPELINE)
        return;
    for (size_t i = 0; i < CN_LEN(needed); i++)
        if (!m->r.part[needed[i]].present)
            complain(m, "there is no %s", cn_component_name(needed[i]));
}

/* Of text encoder i; the first one's is told. */
static void check_tokenizer(struct cn_inspected *m, int i)
{
    const char *dir = cn_checkpoint_tokenizer(m->c, i);
    const char *part = cn_component_name((enum cn_component)(CN_COMP_TEXT + i));
    struct cn_err err = CN_ERR_INIT;
    struct cn_tokenizer *t;
    int rc, tokens;

    if (!m->r.part[CN_COMP_TEXT + i].present)
        return;
    if (dir == NULL && m->r.kind == CN_CKPT_PIPELINE) {
        complain(m, "there is no directory tokenizer%s", i == 0 ? "" : "_2");
        return;
    }
    rc = dir ? cn_tokenizer_open(dir, &t, &err) : cn_tokenizer_builtin(&t, &err);
    if (rc < 0) {
        complain(m, "tokenizer: %s", err.msg);
        return;
    }
    tokens = cn_tokenizer_size(t);
    if (i == 0) {
        m->tokens = tokens;
        snprintf(m->tokenizer, sizeof(m->tokenizer), "%s", dir ? dir : "standard CLIP vocabulary");
    }
    if (tokens > m->r.text[i].vocab_size)
        complain(m, "the tokenizer has %d tokens, the %s knows %d", tokens, part,
                 m->r.text[i].vocab_size);
    cn_tokenizer_close(t);
}

static void find_family(struct cn_inspected *m)
{
    if (m->r.part[CN_COMP_UNET].present)
        cn_unet_family(&m->r.unet, m->family, sizeof(m->family));
    else if (m->r.part[CN_COMP_CONTROL].present)
        cn_unet_family(&m->r.control.unet, m->family, sizeof(m->family));
}

/* ---- the file as such ---- */

/* Names of types are constants of the program: they live on when the file is closed. */
static void count_type(struct cn_inspected_file *file, const char *type)
{
    for (size_t i = 0; i < CN_MAX_TYPES; i++) {
        if (file->type[i].name == NULL)
            file->type[i].name = type;
        if (strcmp(file->type[i].name, type) == 0) {
            file->type[i].tensors++;
            return;
        }
    }
}

static void look_at_file(const char *path, struct cn_inspected_file *ret)
{
    struct cn_tensor_file *f;

    if (!cn_file_exists(path) || cn_tensor_file_open(path, &f, NULL) < 0)
        return;
    ret->present = true;
    cn_tensor_file_classify(f, &ret->class);
    ret->tensors = cn_tensor_file_count(f);
    for (size_t i = 0; i < ret->tensors; i++) {
        struct cn_tensor_view v;

        cn_tensor_file_at(f, i, &v);
        ret->elements += cn_view_elements(&v);
        ret->bytes += cn_view_stored(&v);
        count_type(ret, v.type);
    }
    cn_tensor_file_close(f);
}

void cn_inspected_gather(struct cn_inspected *m, enum cn_ema_choice ema)
{
    struct cn_err err = CN_ERR_INIT;

    look_at_file(m->path, &m->file);
    if (cn_inspected_is_adapter(m)) {
        if (cn_inspected_open_adapter(m, &err) < 0)
            complain(m, "%s", err.msg);
        return;
    }
    if (cn_checkpoint_open_with(m->path, ema, &m->c, &err) < 0) {
        m->c = NULL;
        complain(m, "%s", err.msg);
        return;
    }
    cn_inspect_checkpoint(m->c, keep_finding, m, &m->r);
    check_parts(m);
    for (int i = 0; i < CN_MAX_TEXTS; i++)
        check_tokenizer(m, i);
    find_family(m);
}

void cn_inspected_find_fits(struct cn_inspected *list, int n)
{
    for (int i = 0; i < n; i++) {
        struct cn_inspected *m = &list[i];

        for (int k = 0; k < n && cn_inspected_adapter(m) != NULL; k++)
            if (list[k].c != NULL && list[k].r.part[CN_COMP_UNET].present)
                cn_inspected_try_base(m, &list[k]);
        for (int k = 0; k < n && m->c != NULL && m->r.part[CN_COMP_CONTROL].present; k++) {
            if (list[k].c == NULL || !list[k].r.part[CN_COMP_UNET].present ||
                cn_control_matches(&m->r.control, &list[k].r.unet, NULL) < 0)
                continue;
            m->fits = cn_grow(m->fits, m->n_fits, &m->fits_cap, sizeof(*m->fits));
            m->fits[m->n_fits++] = list[k].path;
        }
    }
}

void cn_inspected_release(struct cn_inspected *m)
{
    for (size_t i = 0; i < m->n_findings; i++)
        free((char *)m->finding[i].name);
    for (size_t i = 0; i < m->n_problems; i++)
        free(m->problem[i]);
    free(m->finding);
    free(m->problem);
    free(m->fits);
    free(m->tried);
    cn_adapters_release(&m->adapters);
    cn_checkpoint_close(m->c);
}

/* ---- known sizes ---- */

static void add_elements(void *ctx, const char *name, int rank, const int64_t *dim)
{
    uint64_t *sum = ctx, n = 1;

    (void)name;
    for (int i = 0; i < rank; i++)
        n *= (uint64_t)dim[i];
    *sum += n;
}

/* Parameters that the configuration asks for: what a file has besides does not count. */
static uint64_t expected(const struct cn_inspected *m, enum cn_component comp)
{
    uint64_t sum = 0;

    if (comp == CN_COMP_TEXT || comp == CN_COMP_TEXT_2)
        cn_expect_text(&m->r.text[comp - CN_COMP_TEXT], add_elements, &sum);
    else if (comp == CN_COMP_UNET)
        cn_expect_unet(&m->r.unet, add_elements, &sum);
    else if (comp == CN_COMP_VAE)
        cn_expect_vae(&m->r.vae, add_elements, &sum);
    else
        cn_expect_control(&m->r.control, add_elements, &sum);
    return sum;
}

static void count_site(void *ctx, const struct cn_site *s)
{
    (void)s;
    (*(int *)ctx)++;
}

int cn_inspected_sites(const struct cn_inspected *m, enum cn_component comp)
{
    int n = 0;

    if (comp == CN_COMP_TEXT || comp == CN_COMP_TEXT_2)
        cn_sites_text(&m->r.text[comp - CN_COMP_TEXT], count_site, &n);
    else if (comp == CN_COMP_UNET)
        cn_sites_unet(&m->r.unet, count_site, &n);
    return n;
}

const char *cn_inspected_known(const struct cn_inspected *m, enum cn_component comp)
{
    static const struct {
        enum cn_component comp;
        uint64_t elements;
        const char *name;
    } known[] = {
        {CN_COMP_TEXT, 123060480, "CLIP ViT-L/14 text encoder"},
        {CN_COMP_TEXT, 340387840, "OpenCLIP ViT-H/14 text encoder"},
        {CN_COMP_TEXT_2, 694659840, "OpenCLIP ViT-bigG/14 text encoder"},
        {CN_COMP_UNET, 859520964, "SD 1.5 UNet"},
        {CN_COMP_UNET, 859535364, "SD 1.5 inpainting UNet"},
        {CN_COMP_UNET, 865910724, "SD 2 UNet"},
        {CN_COMP_UNET, 865925124, "SD 2 inpainting UNet"},
        {CN_COMP_UNET, 2567463684, "SDXL UNet"},
        {CN_COMP_UNET, 2567478084, "SDXL inpainting UNet"},
        {CN_COMP_VAE, 83653863, "Stable Diffusion VAE"},
        {CN_COMP_CONTROL, 361279120, "SD 1.5 ControlNet"},
        {CN_COMP_CONTROL, 364228240, "SD 2 ControlNet"},
        {CN_COMP_CONTROL, 1251014160, "SDXL ControlNet"},
        {CN_COMP_CONTROL, 270942480, "SDXL ControlNet, mid"},
        {CN_COMP_CONTROL, 160111120, "SDXL ControlNet, small"},
    };
    uint64_t n = expected(m, comp);

    for (size_t i = 0; i < CN_LEN(known); i++)
        if (known[i].comp == comp && known[i].elements == n)
            return known[i].name;
    return "";
}
