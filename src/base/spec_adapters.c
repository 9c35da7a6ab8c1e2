/* The adapters of a request: their list, what is accepted, and how block weights of any layout
 * become those of all blocks. */
#include "base/base.h"
#include "base/mem.h"
#include "base/spec.h"

#include <stdio.h>
#include <string.h>

struct cn_spec_adapter *cn_spec_add_adapter(struct cn_spec *s)
{
    struct cn_spec_adapter *a;

    if (s->n_adapters == CN_MAX_ADAPTERS)
        return NULL;
    a = &s->adapter[s->n_adapters++];
    *a = (struct cn_spec_adapter){.name = cn_xstrdup(""), .strength = 1};
    return a;
}

/* Which of the 26 blocks the n numbers of a layout are for: 0 is the text, 1 to 12 the input
 * blocks, 13 the middle, 14 to 25 the output blocks. */
static const struct layout {
    int n;
    int8_t block[CN_BLOCK_WEIGHTS];
} layouts[] = {
    {12, {0, 5, 6, 8, 9, 13, 14, 15, 16, 17, 18, 19}},
    {17, {0, 2, 3, 5, 6, 8, 9, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25}},
    {20, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22}},
    {26, {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
          13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25}},
};

static const struct layout *layout_of(int n)
{
    for (size_t i = 0; i < CN_LEN(layouts); i++)
        if (layouts[i].n == n)
            return &layouts[i];
    return NULL;
}

void cn_spec_adapter_blocks(const struct cn_spec_adapter *a, double ret[CN_BLOCK_WEIGHTS])
{
    const struct layout *l = layout_of(a->n_blocks);

    for (int i = 0; i < CN_BLOCK_WEIGHTS; i++)
        ret[i] = l == NULL ? 1 : 0;
    for (int i = 0; l != NULL && i < l->n; i++)
        ret[l->block[i]] = a->block[i];
}

bool cn_spec_block_count_ok(int n)
{
    return n == 0 || layout_of(n) != NULL;
}

static int check_adapter(const struct cn_spec_adapter *a, int index, struct cn_err *err)
{
    const double most = CN_MAX_ADAPTER_STRENGTH;
    const struct {
        const char *field;
        double v;
    } number[] = {{"strength", a->strength}, {"text_strength", a->text_strength}};
    char where[64];

    snprintf(where, sizeof(where), "/adapters/%d/name", index);
    if (a->name[0] == '\0')
        return cn_fail_at(err, CN_EINVAL, where, "the name of an adapter is required");
    for (size_t i = 0; i < CN_LEN(number); i++) {
        snprintf(where, sizeof(where), "/adapters/%d/%s", index, number[i].field);
        if (!(number[i].v >= -most && number[i].v <= most))
            return cn_fail_at(err, CN_EINVAL, where,
                              "%g is out of range: %g to %g are accepted", number[i].v, -most,
                              most);
    }
    snprintf(where, sizeof(where), "/adapters/%d/block_weights", index);
    if (!cn_spec_block_count_ok(a->n_blocks))
        return cn_fail_at(err, CN_EINVAL, where,
                          "%d numbers: 12, 17, 20 or 26 are accepted", a->n_blocks);
    for (int i = 0; i < a->n_blocks; i++)
        if (!(a->block[i] >= -most && a->block[i] <= most))
            return cn_fail_at(err, CN_EINVAL, where,
                              "%g is out of range: %g to %g are accepted", a->block[i], -most,
                              most);
    return CN_OK;
}

int cn_spec_adapters_check(const struct cn_spec *s, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < s->n_adapters && rc == CN_OK; i++)
        rc = check_adapter(&s->adapter[i], i, err);
    return rc;
}
