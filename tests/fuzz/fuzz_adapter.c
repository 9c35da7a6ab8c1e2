/* Files of adapters: opening, describing, matching with a model, and the change of its layers. An
 * input that begins with '{' is PEFT's adapter_config.json beside a good file of weights. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "runtime/adapter_match.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char plain[] = "fuzz-adapter.safetensors", weights[] = "adapter_model.safetensors",
                  config[] = "adapter_config.json";
static struct cn_checkpoint *base;
static struct cn_buf good; /* the weights beside a config */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    cn_buf_init(&good, 1 << 20);
    CN_ASSERT(cn_checkpoint_open(CN_FUZZ_DATA "/models/tiny", &base, NULL) == CN_OK);
    CN_ASSERT(cn_file_read(CN_FUZZ_DATA "/adapters/peft-dir/adapter_model.safetensors", &good,
                           NULL) == CN_OK);
    return 0;
}

static bool write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    return f != NULL && fwrite(data, 1, len, f) == len && fclose(f) == 0;
}

static void describe(const struct cn_adapter *a)
{
    char text[64];
    int64_t min, max;

    cn_adapter_kinds(a, text, sizeof(text));
    CN_ASSERT(text[0] != '\0');
    cn_adapter_triggers(a, 8, text, sizeof(text));
    cn_adapter_ranks(a, &min, &max);
    CN_ASSERT(min >= 0 && min <= max);
    cn_adapter_note(a, "ss_base_model_version");
    for (size_t i = 0; i < a->n_parts; i++)
        CN_ASSERT(isfinite(a->part[i].scale) && isfinite(a->part[i].constraint));
}

/* Of the first layers: the models are small, and each is checked in the same way. */
static void change_layers(const struct cn_adapter_match *m)
{
    enum { LAYERS = 4 };

    for (size_t i = 0; i < m->n && i < LAYERS; i++) {
        const struct cn_adapter_pair *p = &m->pair[i];
        size_t n = (size_t)(p->layer.out * p->layer.in * p->layer.taps);
        float *w = cn_xcalloc(n, sizeof(*w));
        struct cn_err err = CN_ERR_INIT;

        if (cn_adapter_changes_weight(p->part) &&
            cn_adapter_apply(p->part, &p->layer, 0.5, w, &err) < 0)
            CN_ASSERT(err.msg[0] != '\0');
        if (p->layer.has_bias && cn_adapter_changes_bias(p->part))
            cn_adapter_apply_bias(p->part, &p->layer, 0.5, w, NULL);
        free(w);
    }
}

static void look(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_adapter_match m;
    struct cn_adapter *a;

    if (cn_adapter_open(path, &a, &err) < 0) {
        CN_ASSERT(err.msg[0] != '\0');
        return;
    }
    describe(a);
    if (cn_adapter_match(a, base, &m, &err) == CN_OK) {
        change_layers(&m);
        cn_adapter_match_release(&m);
    } else {
        CN_ASSERT(err.msg[0] != '\0');
    }
    cn_adapter_close(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0 && data[0] == '{') {
        if (write_file(config, data, len) && write_file(weights, good.data, good.len))
            look(weights);
        unlink(config);
        unlink(weights);
    } else {
        if (write_file(plain, data, len))
            look(plain);
        unlink(plain);
    }
    return 0;
}
