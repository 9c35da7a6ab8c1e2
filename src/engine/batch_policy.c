/* How many images take a step together. */
#include "base/base.h"
#include "engine/job_priv.h"

/* Of a step's images together, where a backend does not like batches of any size: small images
 * leave cores waiting for each other, which a larger batch cures; large ones do not, and would only
 * make everybody's steps longer. Measured on two cores: docs/SPEED.md. */
enum { BEST_PIXELS = 8 * 128 * 128 };

int cn_power_of_two(int n)
{
    int p = 1;

    while (2 * p <= n)
        p *= 2;
    return p;
}

void cn_engine_set_max_batch(struct cn_engine *e, int n)
{
    e->opts.max_batch =
        cn_power_of_two(n > 0 ? CN_MIN(n, CN_ENGINE_MAX_BATCH) : CN_ENGINE_MAX_BATCH);
    e->batch_by_size = n <= 0 && !cn_backend_caps(e->rt.backend)->likes_batches;
}

int cn_engine_batch(const struct cn_engine *e, int width, int height)
{
    int64_t fit = BEST_PIXELS / ((int64_t)width * height);

    if (!e->batch_by_size)
        return e->opts.max_batch;
    return cn_power_of_two((int)CN_MIN(CN_MAX(fit, 1), CN_ENGINE_MAX_BATCH));
}

bool cn_engine_mixes_controls(const struct cn_engine *e)
{
    return e->opts.mix_controls || cn_backend_caps(e->rt.backend)->mixes_controls;
}
