/* Simulated farm. */
#include "base/base.h"
#include "farm.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void farm_init(struct farm *f, int workers, int capacity, const struct cn_tenant_rule *rule,
               size_t rules)
{
    static const struct cn_tenant_limits preset = {
        .weight = 1, .max_queued = 0, .max_running = 0, .max_priority = 10};

    memset(f, 0, sizeof(*f));
    f->workers = workers;
    f->capacity = capacity;
    f->ts = cn_tenants_new(&preset);
    cn_tenants_set_rules(f->ts, rule, rules);
    cn_queue_init(&f->q, FARM_LOG, CN_PRIORITY_STEP_S);
}

static void drop(struct farm *f, struct cn_job *job, double cost)
{
    cn_queue_done(&f->q, job, cost);
    cn_job_unref(job);
}

void farm_release(struct farm *f)
{
    struct cn_job *job;

    for (int w = 0; w < f->workers; w++)
        while (f->n[w] > 0)
            drop(f, f->run[w][--f->n[w]].job, 0);
    while ((job = cn_queue_oldest(&f->q)) != NULL) {
        cn_queue_remove(&f->q, job);
        cn_job_unref(job);
    }
    cn_tenants_free(f->ts);
}

void farm_submit(struct farm *f, const char *tenant, int n, double cost, int priority,
                 double seconds)
{
    for (int i = 0; i < n; i++) {
        struct cn_spec spec;
        struct cn_job *job;

        cn_spec_init(&spec);
        spec.priority = priority;
        job = cn_job_new(&spec);
        job->tenant = cn_tenants_get(f->ts, tenant);
        job->cost = cost;
        job->queued_ns = (int64_t)(f->now * 1e9);
        job->spec.denoise = seconds > 0 ? seconds : cost; /* a place for it */
        cn_queue_restore(&f->q, job);
    }
}

static int worker_with_room(const struct farm *f)
{
    int best = -1;

    for (int w = 0; w < f->workers; w++)
        if (f->n[w] < f->capacity && (best < 0 || f->n[w] < f->n[best]))
            best = w;
    return best;
}

static void fill(struct farm *f)
{
    struct cn_job *job;
    int w;

    while ((w = worker_with_room(f)) >= 0 && (job = cn_queue_pop(&f->q)) != NULL) {
        f->run[w][f->n[w]].job = job;
        f->run[w][f->n[w]++].left = job->spec.denoise;
    }
}

/* The job that ends next, and after what time. */
static double next_end(const struct farm *f, int *ret_w, int *ret_i)
{
    double least = -1;

    for (int w = 0; w < f->workers; w++)
        for (int i = 0; i < f->n[w]; i++) {
            double t = f->run[w][i].left * f->n[w];

            if (least < 0 || t < least - 1e-12) {
                least = t;
                *ret_w = w;
                *ret_i = i;
            }
        }
    return least;
}

char farm_step(struct farm *f)
{
    struct cn_job *job;
    int w = 0, i = 0;
    double t;
    char letter;

    fill(f);
    t = next_end(f, &w, &i);
    if (t < 0)
        return 0;
    f->now += t;
    for (int v = 0; v < f->workers; v++)
        for (int k = 0; k < f->n[v]; k++)
            f->run[v][k].left -= t / f->n[v];
    job = f->run[w][i].job;
    f->n[w]--;
    memmove(&f->run[w][i], &f->run[w][i + 1], (size_t)(f->n[w] - i) * sizeof(f->run[w][0]));
    letter = job->tenant->name[0];
    f->log[f->ended++] = letter;
    drop(f, job, f->measured ? job->spec.denoise : job->cost);
    return letter;
}

void farm_run(struct farm *f, int ends)
{
    while (ends-- > 0 && farm_step(f) != 0)
        ;
}

int farm_count(const struct farm *f, int from, int n, char tenant)
{
    int count = 0;

    for (int i = from; i < from + n && i < f->ended; i++)
        count += f->log[i] == tenant;
    return count;
}

int farm_when(const struct farm *f, char tenant, int k)
{
    for (int i = 0; i < f->ended; i++)
        if (f->log[i] == tenant && --k == 0)
            return i + 1;
    return -1;
}
