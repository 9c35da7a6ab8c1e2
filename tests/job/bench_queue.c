/* What the queue costs: jobs of many tenants pushed, looked at, popped. Built and run by hand:
 *
 *     bench_queue [jobs] [tenants]
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "job/queue.h"

#include <stdio.h>
#include <stdlib.h>

static void row(const char *what, double start, int n)
{
    double s = cn_now_s() - start;

    printf("%-28s %8.3f ms %8.0f ns each\n", what, s * 1e3, s * 1e9 / n);
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 10000, tenants = argc > 2 ? atoi(argv[2]) : 100;
    struct cn_tenant_limits preset = CN_TENANT_DEFAULTS;
    struct cn_job **job;
    struct cn_tenants *ts;
    struct cn_queue q;
    double start, cost = 0;

    if (n < 1 || tenants < 1)
        return 2;
    preset.max_queued = 0;
    job = cn_xcalloc((size_t)n, sizeof(struct cn_job *));
    ts = cn_tenants_new(&preset);
    cn_queue_init(&q, n, CN_PRIORITY_STEP_S);
    printf("%d jobs of %d tenants\n", n, tenants);
    for (int i = 0; i < n; i++) {
        struct cn_spec spec;
        char name[32];

        cn_spec_init(&spec);
        snprintf(name, sizeof(name), "tenant-%d", i % tenants);
        job[i] = cn_job_new(&spec);
        job[i]->tenant = cn_tenants_get(ts, name);
        job[i]->cost = 1 + i % 10;
        job[i]->spec.priority = i % 21 - 10;
    }
    start = cn_now_s();
    for (int i = 0; i < n; i++)
        if (cn_queue_push(&q, job[i], NULL, NULL) < 0)
            return 1;
    row("push", start, n);
    start = cn_now_s();
    for (int i = 0; i < n; i += 10)
        cn_queue_place(&q, job[i], &cost);
    row("place", start, (n + 9) / 10);
    start = cn_now_s();
    for (int i = 0; i < n; i++)
        job[i] = cn_queue_pop(&q);
    row("pop", start, n);
    start = cn_now_s();
    for (int i = 0; i < n; i++)
        cn_queue_done(&q, job[i], job[i]->cost);
    row("done", start, n);
    for (int i = 0; i < n; i++)
        cn_job_unref(job[i]);
    free(job);
    cn_tenants_free(ts);
    return 0;
}
