/* checkpoint: what a file beside a model says of it (NAME.json, NAME.yaml), and what the model's
 * own file has twice (averages of weights) or in parts (scaled floats of 8 bits). */
#include "base/base.h"
#include "base/file.h"
#include "checkpoint/checkpoint_priv.h"
#include "checkpoint/yaml.h"
#include "model/expect.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- YAML ---- */

static int note(void *ctx, const char *key, const char *value, struct cn_err *err)
{
    char *text = ctx;
    size_t n = strlen(text);

    (void)err;
    snprintf(text + n, 1000 - n, "%s=%s;", key, value);
    return CN_OK;
}

static int parse(const char *yaml, char text[1000], struct cn_err *err)
{
    char *copy = cn_xstrdup(yaml);
    int rc;

    text[0] = '\0';
    rc = cn_yaml_parse("x.yaml", copy, note, text, err);
    free(copy);
    return rc;
}

static void yaml_is_read(void **state)
{
    static const char *const good[][2] = {
        {"", ""},
        {"---\n# a comment\na: 1 # one\n", "a=1;"},
        {"a:\n  b: x\n  c:\n    d: y\n  e: z\nf: w\n", "a.b=x;a.c.d=y;a.e=z;f=w;"},
        {"a:\n  b: [ 4, 2, 1 ]\n  c: {}\n", "a.b=[ 4, 2, 1 ];a.c={};"},
        {"a:\n  - 1\n  - 2\nb: 3", "a.-=1;a.-=2;b=3;"},
        {"a:\n- 1\n- 2\nb: 3", "a.-=1;a.-=2;b=3;"},
        {"a: \"x # y\"\nb: 'z'\r\nc: a.b#c\n", "a=x # y;b=z;c=a.b#c;"},
        {"a:\nb:\n  c: 1\n", "b.c=1;"},
        {"\xef\xbb\xbf"
         "a: -1\n\n\n",
         "a=-1;"},
    };
    static const char *const bad[][2] = {
        {"a: 1\na: 2\n", "line 2: the key is there twice"},
        {"a: &x 1\n", "anchors"},
        {"a: |\n  text\n", "several lines"},
        {"a: {b: 1}\n", "braces"},
        {"a: [1,\n 2]\n", "end on their line"},
        {"a:\n    b: 1\n  c: 2\n", "line 3: its indentation"},
        {"\ta: 1\n", "a tab"},
        {"a:\n  - b: 1\n", "lists of mappings"},
        {"- 1\n", "without a key"},
        {"word\n", "not a key"},
        {"a: b: c\n", "two keys"},
        {"a: \"x\n", "quotes"},
        {"a b: 1\n", "a key is letters"},
    };
    char text[1000];

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (parse(good[i][0], text, &err) < 0 || strcmp(text, good[i][1]) != 0)
            fail_msg("%s: \"%s\" %s", good[i][0], text, err.msg);
    }
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (parse(bad[i][0], text, &err) != CN_EFORMAT || strstr(err.msg, bad[i][1]) == NULL)
            fail_msg("%s: \"%s\"", bad[i][0], err.msg);
    }
}

/* ---- models in files ---- */

static void ldm_unet(struct make *m)
{
    m->prefix = cn_ldm_prefix[CN_COMP_UNET];
    m->comp = CN_COMP_UNET;
    m->ldm = &tiny_layout;
    cn_expect_unet(&tiny_unet, make_expected, m);
}

/* Of all tensors but the last `less`: their names without points. */
static void add_averages(struct make *m, size_t less)
{
    size_t n = m->n;

    for (size_t i = 0; i + less < n; i++) {
        struct cn_tensor_view v = m->view[i];
        char name[256] = "model_ema.", *to = name + strlen(name);

        for (const char *p = v.name + strlen("model."); *p != '\0'; p++)
            if (*p != '.')
                *to++ = *p;
        *to = '\0';
        make_add(m, name, v.dtype, v.rank, v.dim);
    }
}

static void write_model(const char *path, bool averages, size_t less)
{
    struct make m;

    make_init(&m);
    ldm_unet(&m);
    if (averages)
        add_averages(&m, less);
    make_write(&m, path);
    make_release(&m);
}

static int open_with(const char *folder, const char *yaml, const char *json,
                     struct cn_checkpoint **ret, struct cn_err *err)
{
    char *path = cn_xprintf("%s/m.safetensors", folder);
    int rc;

    if (yaml != NULL)
        make_text(yaml, "%s/m.yaml", folder);
    if (json != NULL)
        make_text(json, "%s/m.json", folder);
    rc = cn_checkpoint_open(path, ret, err);
    if (yaml != NULL)
        make_text("", "%s/m.yaml", folder);
    if (json != NULL)
        make_text("{}", "%s/m.json", folder);
    free(path);
    return rc;
}

#define UNET "model:\n  params:\n    unet_config:\n      params:\n        "

static void yaml_beside_a_model_counts(void **state)
{
    static const char yaml[] =
        "model:\n"
        "  base_learning_rate: 1.0e-4\n"
        "  target: ldm.models.diffusion.ddpm.LatentDiffusion\n"
        "  params:\n"
        "    parameterization: \"v\"\n"
        "    linear_start: 0.0009\n"
        "    linear_end: 0.013\n"
        "    timesteps: 900\n"
        "    conditioning_key: crossattn\n"
        "    scale_factor: 0.2\n"
        "    use_ema: False # we set this to false\n"
        "    unet_config:\n"
        "      target: ldm.modules.diffusionmodules.openaimodel.UNetModel\n"
        "      params:\n"
        "        image_size: 32 # unused\n"
        "        in_channels: 4\n"
        "        out_channels: 4\n"
        "        model_channels: 32\n"
        "        attention_resolutions: [ 4, 2, 1 ]\n"
        "        num_res_blocks: 1\n"
        "        channel_mult: [ 1, 2, 2 ]\n"
        "        num_head_channels: 16 # need to fix for flash-attn\n"
        "        use_spatial_transformer: True\n"
        "        transformer_depth: 1\n"
        "        context_dim: 48\n"
        "        legacy: False\n"
        "    first_stage_config:\n"
        "      target: ldm.models.autoencoder.AutoencoderKL\n"
        "      params:\n"
        "        embed_dim: 4\n"
        "        ddconfig:\n"
        "          ch_mult:\n"
        "          - 1\n"
        "          - 2\n"
        "        lossconfig:\n"
        "          target: torch.nn.Identity\n"
        "    cond_stage_config:\n"
        "      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder\n"
        "data:\n"
        "  whatever: 5\n";
    static const char *const bad[][2] = {
        {"model:\n  params:\n    parameterization: x0\n", "parameterization"},
        {"model:\n  params:\n    some_new_setting: 3\n", "some_new_setting"},
        {"model:\n  target: sgm.models.diffusion.DiffusionEngine\n", "target"},
        {"model:\n  params:\n    beta_schedule: sqrt\n", "beta_schedule"},
        {UNET "in_channels: 9\n", "the tensors say 4"},
        {UNET "context_dim: 768\n", "the tensors say 48"},
        {UNET "num_head_channels: 33\n", "do not divide"},
        {UNET "use_linear_in_transformer: True\n", "say otherwise"},
        {UNET "num_classes: sequential\n", "num_classes"},
        {"model:\n  params: {a: 1}\n", "line 2"},
    };
    char *folder = make_folder(), *path = cn_xprintf("%s/m.safetensors", folder);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;

    (void)state;
    write_model(path, false, 0);
    if (open_with(folder, yaml, "{\"unet\":{\"sample_size\":12}}", &c, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
    assert_true(cn_checkpoint_schedule(c)->beta_start == 0.0009);
    assert_true(cn_checkpoint_schedule(c)->beta_end == 0.013);
    assert_int_equal(cn_checkpoint_schedule(c)->train_steps, 900);
    assert_int_equal(cn_checkpoint_schedule(c)->beta_schedule, CN_BETA_SCALED_LINEAR);
    assert_int_equal(cn_checkpoint_unet(c)->heads[0], 2);
    assert_int_equal(cn_checkpoint_unet(c)->heads[1], 4);
    assert_int_equal(cn_checkpoint_unet(c)->sample_width, 12);
    cn_checkpoint_close(c);
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err why = CN_ERR_INIT;

        if (open_with(folder, bad[i][0], NULL, &c, &why) >= 0 || !strstr(why.msg, bad[i][1]))
            fail_msg("%s: \"%s\"", bad[i][0], why.msg);
        assert_non_null(strstr(why.msg, "m.yaml"));
    }
    /* NAME.json has the last word */
    assert_int_equal(open_with(folder, yaml, "{\"scheduler\":{\"prediction_type\":\"epsilon\"}}",
                               &c, NULL),
                     CN_OK);
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_EPSILON);
    cn_checkpoint_close(c);
    free(path);
    make_remove(folder);
}

/* The first bytes of conv_in. */
static uint64_t sample_of(const struct cn_checkpoint *c)
{
    struct cn_tensor_view v;
    unsigned char *p;
    uint64_t ret;

    assert_int_equal(cn_checkpoint_find(c, CN_COMP_UNET, "conv_in.weight", &v, NULL), CN_OK);
    p = cn_xmalloc(v.bytes);
    assert_int_equal(cn_view_read(&v, p, NULL), CN_OK);
    memcpy(&ret, p, sizeof(ret));
    free(p);
    return ret;
}

static void averages_are_used_when_asked_for(void **state)
{
    static const struct {
        const char *yaml, *json;
        bool average;
    } row[] = {
        {NULL, NULL, false},
        {NULL, "{\"ema\":false}", false},
        {NULL, "{\"ema\":true}", true},
        {"model:\n  params:\n    use_ema: True\n", NULL, true},
        {"model:\n  params:\n    use_ema: True\n", "{\"ema\":false}", false},
    };
    char *folder = make_folder(), *path = cn_xprintf("%s/m.safetensors", folder);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;
    uint64_t plain = 0;

    (void)state;
    write_model(path, true, 0);
    for (size_t i = 0; i < CN_LEN(row); i++) {
        if (open_with(folder, row[i].yaml, row[i].json, &c, &err) < 0)
            fail_msg("%s", err.msg);
        plain = i == 0 ? sample_of(c) : plain;
        assert_int_equal(sample_of(c) != plain, row[i].average);
        assert_int_equal(cn_checkpoint_average(c),
                         row[i].average ? CN_AVERAGE_USED : CN_AVERAGE_UNUSED);
        cn_checkpoint_close(c);
    }
    for (int i = 0; i < 2; i++) { /* who opens it has the last word */
        make_text(i == 0 ? "{}" : "{\"ema\":true}", "%s/m.json", folder);
        assert_int_equal(
            cn_checkpoint_open_with(path, i == 0 ? CN_EMA_YES : CN_EMA_NO, &c, &err), CN_OK);
        assert_int_equal(sample_of(c) != plain, i == 0);
        cn_checkpoint_close(c);
    }
    make_text("{}", "%s/m.json", folder);
    write_model(path, true, 3);
    assert_int_equal(open_with(folder, NULL, NULL, &c, &err), CN_OK);
    cn_checkpoint_close(c);
    assert_int_equal(open_with(folder, NULL, "{\"ema\":true}", &c, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "model_ema"));
    write_model(path, false, 0);
    assert_int_equal(open_with(folder, NULL, "{\"ema\":true}", &c, NULL), CN_EINVAL);
    assert_int_equal(cn_checkpoint_open_with(path, CN_EMA_YES, &c, NULL), CN_EINVAL);
    assert_int_equal(cn_checkpoint_open_with(path, CN_EMA_NO, &c, NULL), CN_OK);
    cn_checkpoint_close(c);
    free(path);
    make_remove(folder);
}

/* ---- scaled floats of 8 bits ---- */

static struct cn_tensor_file *in_memory(char *file, size_t size, const char *header,
                                        const void *data, size_t len, struct cn_err *err)
{
    struct cn_tensor_file *f = NULL;
    size_t n = strlen(header);

    assert_true(8 + n + len <= size);
    memset(file, 0, 8);
    file[0] = (char)(n & 0xff);
    file[1] = (char)(n >> 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, data, len);
    if (cn_tensor_file_parse("m", file, 8 + n + len, &f, err) < 0)
        fail_msg("%s", err->msg);
    return f;
}

static void scaled_floats_are_multiplied(void **state)
{
    static const char header[] =
        "{\"a.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
        "\"a.scale_weight\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]},"
        "\"b.weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[8,10]},"
        "\"b.weight_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[10,14]},"
        "\"c.weight\":{\"dtype\":\"F8_E5M2\",\"shape\":[2],\"data_offsets\":[14,16]},"
        "\"c.scale_weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]},"
        "\"d.weight\":{\"dtype\":\"F8_E5M2\",\"shape\":[1],\"data_offsets\":[24,25]},"
        "\"e.scale_weight\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[25,29]},"
        "\"x.scaled_fp8\":{\"dtype\":\"F8_E4M3\",\"shape\":[0],\"data_offsets\":[29,29]}}";
    unsigned char data[29] = {0x38, 0x3c, 0x7e, 0xb8}; /* 1, 1.5, 448, -1 */
    const float scale = 0.37f;
    static char file[2048];
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_view v;
    struct cn_tensor_file *f;
    float x[4];

    (void)state;
    memcpy(data + 4, &scale, 4);
    memcpy(data + 10, &scale, 4);
    memcpy(data + 16, &scale, 4);
    memcpy(data + 20, &scale, 4);
    f = in_memory(file, sizeof(file), header, data, sizeof(data), &err);
    assert_true(cn_tensor_file_view(f, "a.weight", &v));
    assert_int_equal(cn_scaled_apply(&v, &err), CN_OK);
    assert_int_equal(v.dtype, CN_F32);
    assert_int_equal(v.bytes, 16);
    assert_int_equal(cn_view_stored(&v), 4);
    assert_int_equal(cn_view_read(&v, x, NULL), CN_OK);
    assert_true(x[0] == scale && x[1] == 1.5f * scale && x[2] == 448 * scale && x[3] == -scale);
    cn_view_rows(&v, 1, 1);
    assert_int_equal(v.bytes, 8);
    assert_int_equal(cn_view_read(&v, x, NULL), CN_OK);
    assert_true(x[0] == 448 * scale && x[1] == -scale);
    assert_true(cn_tensor_file_view(f, "d.weight", &v)); /* without a scale it stays what it is */
    assert_int_equal(cn_scaled_apply(&v, &err), CN_OK);
    assert_int_equal(v.dtype, CN_F16);
    assert_true(cn_tensor_file_view(f, "b.weight", &v));
    assert_int_equal(cn_scaled_apply(&v, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "b.weight"));
    err = (struct cn_err)CN_ERR_INIT;
    assert_true(cn_tensor_file_view(f, "c.weight", &v));
    assert_int_equal(cn_scaled_apply(&v, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "c.scale_weight"));
    assert_true(cn_tensor_file_view(f, "a.scale_weight", &v) && cn_scaled_is_mark(&v));
    assert_true(cn_tensor_file_view(f, "x.scaled_fp8", &v) && cn_scaled_is_mark(&v));
    assert_true(cn_tensor_file_view(f, "e.scale_weight", &v) && !cn_scaled_is_mark(&v));
    cn_tensor_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_is_read),
        cmocka_unit_test(yaml_beside_a_model_counts),
        cmocka_unit_test(averages_are_used_when_asked_for),
        cmocka_unit_test(scaled_floats_are_multiplied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
