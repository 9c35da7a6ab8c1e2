/* Shows what inspected.c found out of models, as text for people and as JSON for programs. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/inspected.h"

#include <string.h>

enum { MAX_LISTED = 10 }; /* findings of a kind in a component, unless all are asked for */

/* ---- text ---- */

static void print_label(const char *label, FILE *out)
{
    fprintf(out, "  %-14s ", label);
}

static void print_channels(const int *channels, int n, FILE *out)
{
    for (int i = 0; i < n; i++)
        fprintf(out, "%s%d", i == 0 ? "" : "-", channels[i]);
}

static void print_encoder(const struct cn_unet_config *u, FILE *out)
{
    print_label("", out);
    print_channels(u->channels, u->blocks, out);
    fprintf(out, " channels, %d deep, heads ", u->layers_per_block);
    print_channels(u->heads, u->blocks, out);
    if (u->cross_attention_dim > 0) /* a small ControlNet's file does not say: it reads no text */
        fprintf(out, ", context %d\n", u->cross_attention_dim);
    else
        fprintf(out, ", no context\n");
    if (u->add_dim == 0)
        return;
    print_label("", out);
    fprintf(out, "transformers of ");
    print_channels(u->transformer_layers, u->blocks, out);
    fprintf(out, " blocks; told %d numbers of the text and of sizes\n", u->add_dim);
}

static void print_unet(const struct cn_unet_config *u, FILE *out)
{
    print_encoder(u, out);
    print_label("", out);
    fprintf(out, "latents of %d channels to %d, %d x %d\n", u->in_channels, u->out_channels,
            u->sample_width, u->sample_height);
}

static void print_control(const struct cn_control_config *c, FILE *out)
{
    print_encoder(&c->unet, out);
    print_label("", out);
    fprintf(out, "hint: ");
    print_channels(c->hint_out, c->hint_blocks, out);
    fprintf(out, " channels%s%s\n", c->bgr ? ", blue first" : "",
            c->global_pool ? ", global average pooling" : "");
}

static void print_text(const struct cn_text_config *t, FILE *out)
{
    print_label("", out);
    fprintf(out, "%d layers of width %d, %d heads, %d tokens, %s\n", t->layers, t->hidden_size,
            t->heads, t->vocab_size, t->act == CN_QUICK_GELU ? "quick GELU" : "GELU");
}

static void print_vae(const struct cn_vae_config *v, FILE *out)
{
    print_label("", out);
    print_channels(v->channels, v->blocks, out);
    fprintf(out, " channels, %d in the latent, sides divided by %d, scale %g\n", v->latent_channels,
            1 << (v->blocks - 1), v->scaling_factor);
}

static void print_average(enum cn_average average, FILE *out)
{
    if (average == CN_AVERAGE_NONE)
        return;
    print_label("", out);
    fprintf(out, average == CN_AVERAGE_USED
                     ? "averages of the training's weights (EMA), not the plain ones\n"
                     : "plain weights; averages of the training's (EMA) are there, not used\n");
}

static void print_part(const struct cn_inspected *m, enum cn_component comp, FILE *out)
{
    const struct cn_inspect_part *p = &m->r.part[comp];
    const char *known = cn_inspected_known(m, comp);
    char count[32], bytes[32];

    print_label(cn_component_name(comp), out);
    fprintf(out, "%s parameters in %zu tensors, %s, %s", cn_cli_count(p->elements, count, 32),
            p->tensors, p->type, cn_cli_bytes(p->bytes, bytes, sizeof(bytes)));
    fprintf(out, "%s%s\n", known[0] ? ": " : "", known);
    if (m->r.kind == CN_CKPT_FILE && p->file != NULL && strcmp(p->file, m->path) != 0) {
        print_label("", out);
        fprintf(out, "from %s\n", p->file);
    }
    if (comp == CN_COMP_TEXT || comp == CN_COMP_TEXT_2) {
        print_text(&m->r.text[comp - CN_COMP_TEXT], out);
    } else if (comp == CN_COMP_UNET) {
        print_unet(&m->r.unet, out);
        print_average(cn_checkpoint_average(m->c), out);
    } else if (comp == CN_COMP_VAE) {
        print_vae(&m->r.vae, out);
    } else {
        print_control(&m->r.control, out);
    }
}

static const char *beta_name(enum cn_beta b)
{
    return b == CN_BETA_LINEAR ? "linear" : b == CN_BETA_SCALED_LINEAR ? "scaled_linear" : "cosine";
}

static void print_schedule(const struct cn_schedule_config *s, FILE *out)
{
    print_label("schedule", out);
    fprintf(out, "%d steps, %s %g to %g, predicts %s, spacing %s\n", s->train_steps,
            beta_name(s->beta_schedule), s->beta_start, s->beta_end,
            s->prediction == CN_PREDICT_V ? "velocity" : "noise", cn_enum_spacing.name[s->spacing]);
}

static void print_fits(const struct cn_inspected *m, FILE *out)
{
    print_label("fits", out);
    fprintf(out, "base models of family %s", m->family);
    for (size_t i = 0; i < m->n_fits; i++)
        fprintf(out, "%s%s", i == 0 ? ": " : ", ", m->fits[i]);
    fputc('\n', out);
}

static void print_finding(const struct cn_finding *f, FILE *out)
{
    fprintf(out, "  ! %s: %s %s", cn_component_name(f->comp), cn_finding_name(f->kind), f->name);
    if (f->have[0] != '\0')
        fprintf(out, " %s", f->have);
    if (f->need[0] != '\0')
        fprintf(out, f->have[0] != '\0' ? ", needed: %s" : " %s", f->need);
    fputc('\n', out);
}

/* Superfluous tensors do no harm: they are only counted, unless all are asked for. */
static void print_findings(const struct cn_inspected *m, enum cn_component comp,
                           enum cn_finding_kind kind, size_t most, FILE *out)
{
    size_t n = m->r.part[comp].findings[kind], seen = 0;

    for (size_t i = 0; i < m->n_findings && seen < most; i++)
        if (m->finding[i].comp == comp && m->finding[i].kind == kind) {
            print_finding(&m->finding[i], out);
            seen++;
        }
    if (n > seen)
        fprintf(out, "  %c %s: %zu %s %s\n", kind == CN_FINDING_UNEXPECTED ? '-' : '!',
                cn_component_name(comp), n - seen, seen > 0 ? "more" : "tensors",
                cn_finding_name(kind));
}

/* A file that is no model: what is known of any file. */
static void print_file(const struct cn_inspected_file *f, FILE *out)
{
    char count[32], bytes[32];

    print_label("tensors", out);
    fprintf(out, "%zu, %s numbers, %s", f->tensors, cn_cli_count(f->elements, count, 32),
            cn_cli_bytes(f->bytes, bytes, sizeof(bytes)));
    for (size_t i = 0; i < CN_MAX_TYPES && f->type[i].name != NULL; i++)
        fprintf(out, "%s%zu of %s", i == 0 ? ": " : ", ", f->type[i].tensors, f->type[i].name);
    fputc('\n', out);
}

void cn_inspected_print(const struct cn_inspected *m, bool all, FILE *out)
{
    fprintf(out, "%s", m->path);
    if (m->c == NULL && m->file.class.what[0] != '\0')
        fprintf(out, ": %s", m->file.class.what);
    if (m->c != NULL)
        fprintf(out, ": %s%s%s%s", cn_checkpoint_kind_name(m->r.kind),
                m->family[0] ? ", family " : "", m->family,
                m->r.difference ? ", difference to its base model" : "");
    fputc('\n', out);
    if (m->c == NULL && m->file.present)
        print_file(&m->file, out);
    if (cn_inspected_adapter(m) != NULL)
        cn_inspected_print_adapter(m, out);
    for (int c = 0; c < CN_COMP_COUNT; c++)
        if (m->r.part[c].present)
            print_part(m, (enum cn_component)c, out);
    if (m->r.part[CN_COMP_UNET].present)
        print_schedule(&m->r.schedule, out);
    if (m->tokenizer[0] != '\0') {
        print_label("tokenizer", out);
        fprintf(out, "%d tokens, %s\n", m->tokens, m->tokenizer);
    }
    if (m->r.part[CN_COMP_CONTROL].present)
        print_fits(m, out);
    for (size_t i = 0; i < m->n_problems; i++)
        fprintf(out, "  ! %s\n", m->problem[i]);
    for (int c = 0; c < CN_COMP_COUNT; c++)
        for (int k = 0; k < CN_FINDING_COUNT; k++)
            print_findings(m, (enum cn_component)c, (enum cn_finding_kind)k,
                           all                          ? m->n_findings
                           : k == CN_FINDING_UNEXPECTED ? 0
                                                        : MAX_LISTED,
                           out);
}

/* ---- JSON ---- */

/* "text encoder" as a key: text_encoder. */
static void set_named(json_t *o, const char *name, json_t *value)
{
    char key[40];

    snprintf(key, sizeof(key), "%s", name);
    for (char *p = key; *p != '\0'; p++)
        *p = *p == ' ' ? '_' : *p;
    json_object_set_new(o, key, value);
}

static json_t *integers(const int *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_integer(v[i]));
    return a;
}

static const char *average_name(enum cn_average a)
{
    return a == CN_AVERAGE_NONE ? "none" : a == CN_AVERAGE_USED ? "used" : "unused";
}

/* As in diffusers' files: one number for both sides, or [height, width]. */
static json_t *sample_size(const struct cn_unet_config *u)
{
    if (u->sample_height == u->sample_width)
        return json_integer(u->sample_width);
    return json_pack("[ii]", u->sample_height, u->sample_width);
}

static json_t *unet_json(const struct cn_unet_config *u)
{
    return json_pack("{si so si so si sb si}", "in_channels", u->in_channels, "block_out_channels",
                     integers(u->channels, u->blocks), "layers_per_block", u->layers_per_block,
                     "heads", integers(u->heads, u->blocks), "cross_attention_dim",
                     u->cross_attention_dim, "linear_projection", u->linear_projection,
                     "norm_groups", u->norm_groups);
}

static json_t *config_json(const struct cn_inspected *m, enum cn_component comp)
{
    const struct cn_text_config *t = m->r.text;
    const struct cn_vae_config *v = &m->r.vae;
    const struct cn_control_config *c = &m->r.control;

    switch (comp) {
    case CN_COMP_TEXT_2:
        t++;
        /* fall through */
    case CN_COMP_TEXT:
        return json_pack("{si si si si si}", "vocab_size", t->vocab_size, "hidden_size",
                         t->hidden_size, "layers", t->layers, "heads", t->heads, "max_position",
                         t->max_position);
    case CN_COMP_UNET:
        return json_pack("{so si so ss}", "sample_size", sample_size(&m->r.unet), "out_channels",
                         m->r.unet.out_channels, "encoder", unet_json(&m->r.unet), "ema",
                         average_name(cn_checkpoint_average(m->c)));
    case CN_COMP_VAE:
        return json_pack("{so si sf}", "block_out_channels", integers(v->channels, v->blocks),
                         "latent_channels", v->latent_channels, "scaling_factor",
                         v->scaling_factor);
    default:
        return json_pack("{so so sb sb}", "encoder", unet_json(&c->unet), "hint_channels",
                         integers(c->hint_out, c->hint_blocks), "bgr", c->bgr, "global_pool",
                         c->global_pool);
    }
}

static json_t *part_json(const struct cn_inspected *m, enum cn_component comp)
{
    const struct cn_inspect_part *p = &m->r.part[comp];
    const char *known = cn_inspected_known(m, comp);
    json_t *o =
        json_pack("{sI sI sI ss si so}", "parameters", (json_int_t)p->elements, "tensors",
                  (json_int_t)p->tensors, "bytes", (json_int_t)p->bytes, "type", p->type,
                  "adapter_sites", cn_inspected_sites(m, comp), "config", config_json(m, comp));

    json_object_set_new(o, "file", p->file != NULL ? cn_cli_json_text(p->file) : json_null());
    json_object_set_new(o, "known_as", known[0] ? json_string(known) : json_null());
    for (int k = 0; k < CN_FINDING_COUNT; k++)
        set_named(o, cn_finding_name((enum cn_finding_kind)k),
                  json_integer((json_int_t)p->findings[k]));
    return o;
}

static json_t *findings_json(const struct cn_inspected *m)
{
    json_t *a = json_array();

    for (size_t i = 0; i < m->n_findings; i++) {
        const struct cn_finding *f = &m->finding[i];
        json_t *o = json_pack("{ss ss so ss ss}", "component", cn_component_name(f->comp), "kind",
                              cn_finding_name(f->kind), "tensor", cn_cli_json_text(f->name), "have",
                              f->have, "need", f->need);

        json_array_append_new(a, o);
    }
    return a;
}

static json_t *schedule_json(const struct cn_schedule_config *s)
{
    return json_pack("{si ss sf sf ss ss si}", "train_steps", s->train_steps, "beta_schedule",
                     beta_name(s->beta_schedule), "beta_start", s->beta_start, "beta_end",
                     s->beta_end, "prediction", s->prediction == CN_PREDICT_V ? "v" : "epsilon",
                     "spacing", cn_enum_spacing.name[s->spacing], "steps_offset", s->steps_offset);
}

static void set_opened(json_t *o, const struct cn_inspected *m)
{
    json_t *parts = json_object(), *fits = json_array();

    for (int c = 0; c < CN_COMP_COUNT; c++)
        if (m->r.part[c].present)
            set_named(parts, cn_component_name((enum cn_component)c),
                      part_json(m, (enum cn_component)c));
    for (size_t i = 0; i < m->n_fits; i++)
        json_array_append_new(fits, cn_cli_json_text(m->fits[i]));
    json_object_set_new(o, "kind", json_string(cn_checkpoint_kind_name(m->r.kind)));
    json_object_set_new(o, "family", m->family[0] ? json_string(m->family) : json_null());
    json_object_set_new(o, "difference", json_boolean(m->r.difference));
    json_object_set_new(o, "components", parts);
    if (m->r.part[CN_COMP_UNET].present)
        json_object_set_new(o, "schedule", schedule_json(&m->r.schedule));
    if (m->tokenizer[0] != '\0')
        json_object_set_new(
            o, "tokenizer",
            json_pack("{si so}", "tokens", m->tokens, "from", cn_cli_json_text(m->tokenizer)));
    if (m->r.part[CN_COMP_CONTROL].present)
        json_object_set(o, "fits", fits);
    json_object_set_new(o, "findings", findings_json(m));
    json_decref(fits);
}

static json_t *file_json(const struct cn_inspected_file *f)
{
    json_t *types = json_object(), *o;

    for (size_t i = 0; i < CN_MAX_TYPES && f->type[i].name != NULL; i++)
        json_object_set_new(types, f->type[i].name, json_integer((json_int_t)f->type[i].tensors));
    o = json_pack("{ss sI sI sI so}", "kind", cn_file_kind_name(f->class.kind), "tensors",
                  (json_int_t)f->tensors, "parameters", (json_int_t)f->elements, "bytes",
                  (json_int_t)f->bytes, "types", types);
    json_object_set_new(o, "what", f->class.what[0] ? json_string(f->class.what) : json_null());
    json_object_set_new(
        o, "family", f->class.family ? json_string(cn_family_name(f->class.family)) : json_null());
    return o;
}

json_t *cn_inspected_json(const struct cn_inspected *m)
{
    json_t *o = json_object(), *problems = json_array();

    json_object_set_new(o, "path", cn_cli_json_text(m->path));
    json_object_set_new(o, "good", json_boolean(!cn_inspected_bad(m)));
    for (size_t i = 0; i < m->n_problems; i++)
        json_array_append_new(problems, cn_cli_json_text(m->problem[i]));
    json_object_set_new(o, "problems", problems);
    if (m->file.present)
        json_object_set_new(o, "file", file_json(&m->file));
    if (cn_inspected_adapter(m) != NULL)
        json_object_set_new(o, "adapter", cn_inspected_adapter_json(m));
    if (m->c != NULL)
        set_opened(o, m);
    return o;
}
