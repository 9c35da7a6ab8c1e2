/* What a control's "annotator" can name: functions of pixels, which the reading thread runs, and
 * networks, which the owner runs before the hint encoder. The list is the same for both. */
#include "base/base.h"
#include "engine/job_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cn_engine_add_annotator(struct cn_engine *e, const struct cn_engine_annotator *a,
                            struct cn_err *err)
{
    CN_ASSERT((a->function != NULL) != (a->graph != NULL));
    if (cn_annotator_named(e, a->name) != NULL)
        return cn_fail(err, CN_EINVAL, "there are two annotators named \"%s\"", a->name);
    e->annotator =
        cn_grow(e->annotator, (size_t)e->n_annotators, &e->annotators_cap, sizeof(*e->annotator));
    e->annotator[e->n_annotators] = cn_xcalloc(1, sizeof(**e->annotator));
    e->annotator[e->n_annotators++]->is = *a;
    return CN_OK;
}

int cn_engine_annotators(const struct cn_engine *e)
{
    return e->n_annotators;
}

const struct cn_engine_annotator *cn_engine_annotator_at(const struct cn_engine *e, int i)
{
    return &e->annotator[i]->is;
}

struct cn_annotator_entry *cn_annotator_named(const struct cn_engine *e, const char *name)
{
    for (int i = 0; i < e->n_annotators; i++)
        if (strcmp(e->annotator[i]->is.name, name) == 0)
            return e->annotator[i];
    return NULL;
}

enum { USUAL_SIDE = 512 }; /* of the pictures that annotators look at */

struct size {
    const struct cn_annotator_entry *of;
    int height, width;
};

static struct cn_graph *build(const void *arg)
{
    const struct size *s = arg;

    return s->of->is.graph(s->height, s->width);
}

int cn_annotator_plan(struct cn_engine *e, struct cn_annotator_entry *a, int height, int width,
                      struct cn_plan_entry **ret, struct cn_err *err)
{
    struct size s = {a, height, width};
    char key[64];
    int rc = cn_network_open_params(&a->net, e->rt.backend, a->is.params, err);

    if (rc < 0)
        return rc;
    if (!a->net.layouts_fixed)
        cn_network_fix_layouts(&a->net, build, &(struct size){a, USUAL_SIDE, USUAL_SIDE});
    a->net.layouts_fixed = true;
    snprintf(key, sizeof(key), "annotate %dx%d", width, height);
    return cn_network_plan(&a->net, key, 0, build, &s, ret, err);
}

void cn_annotators_unload(struct cn_engine *e)
{
    for (int i = 0; i < e->n_annotators; i++)
        cn_network_close(&e->annotator[i]->net);
}

void cn_annotators_free(struct cn_engine *e)
{
    cn_annotators_unload(e);
    for (int i = 0; i < e->n_annotators; i++)
        free(e->annotator[i]);
    free(e->annotator);
}

size_t cn_annotators_bytes(const struct cn_engine *e)
{
    size_t sum = 0;

    for (int i = 0; i < e->n_annotators; i++)
        sum += cn_network_bytes(&e->annotator[i]->net);
    return sum;
}
