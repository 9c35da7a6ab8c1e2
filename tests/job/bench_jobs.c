/* Built and run by hand (make bench): how many submissions a second the service commits, what they
 * cost the loop, how long a start with many waiting jobs takes, and what questions cost.
 *
 *     tests/job/bench_jobs [jobs [directory]]
 */
#include "base/base.h"
#include "jobs_rig.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FLIGHT = 256 };

static double cpu_s(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct run {
    struct rig *r;
    int begun, told, refused, jobs;
    size_t image_bytes;
    double slowest_s;
    char id[CN_STORE_ID];
    double *at; /* when each was submitted */
};

static void begin(struct run *v);

static void on_told(void *arg, const struct cn_submitted *s)
{
    struct run *v = arg;

    v->told++;
    v->refused += s->outcome != CN_SUBMIT_NEW;
    if (s->id != NULL)
        memcpy(v->id, s->id, sizeof(v->id));
    v->slowest_s = CN_MAX(v->slowest_s, cn_now_s() - v->at[v->told - 1]); /* in their order */
    if (v->begun < v->jobs)
        begin(v);
}

static void begin(struct run *v)
{
    struct cn_submit_options o = {.durable = true};
    struct cn_spec s;

    rig_spec(v->r, &s, "step=100000", 1, v->image_bytes);
    v->at[v->begun++] = cn_now_s();
    cn_jobs_submit(v->r->jobs, &s, "anna", &o, on_told, v);
}

static bool all_told(void *arg)
{
    struct run *v = arg;

    return v->told == v->jobs;
}

static void submit(struct rig *r, int jobs, size_t image_bytes, char id[CN_STORE_ID])
{
    struct run v = {.r = r, .jobs = jobs, .image_bytes = image_bytes};
    struct cn_store_facts f0, f1;
    double t, loop, all;

    v.at = cn_xcalloc((size_t)jobs, sizeof(*v.at));
    cn_store_facts(r->store, &f0);
    t = cn_now_s();
    loop = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    all = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < CN_MIN(FLIGHT, jobs); i++)
        begin(&v);
    rig_until(r, all_told, &v);
    t = cn_now_s() - t;
    loop = cpu_s(CLOCK_THREAD_CPUTIME_ID) - loop;
    all = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - all;
    cn_store_facts(r->store, &f1);
    printf("submit  %6d jobs, input %7zu bytes: %7.0f/s, loop %5.1f us and thread %5.1f us of CPU "
           "each, %4.1f a commit, slowest %.0f ms, %d refused\n",
           jobs, image_bytes, jobs / t, loop / jobs * 1e6, (all - loop) / jobs * 1e6,
           (double)jobs / (double)(f1.commits - f0.commits), v.slowest_s * 1e3, v.refused);
    memcpy(id, v.id, CN_STORE_ID);
    free(v.at);
}

static bool is_open(void *arg)
{
    return cn_jobs_storage(((struct rig *)arg)->jobs, NULL) == CN_OK;
}

static void on_answer(void *arg, struct cn_store_answer *a)
{
    CN_ASSERT(a->outcome == CN_STORE_OK);
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void list(struct rig *r, const char *tenant, const char *what)
{
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));
    struct cn_jobs_query q = {.state = -1, .limit = 100};
    double t = cn_now_s();

    for (int i = 0; i < 100; i++)
        CN_ASSERT(rig_list(r, tenant, &q, page) == CN_OK);
    printf("%s%8.1f us\n", what, (cn_now_s() - t) * 1e4);
    free(page);
}

/* From question to answer, one after the other. */
static void ask(struct rig *r, const char *id)
{
    double t = cn_now_s();

    for (int i = 0; i < 1000; i++)
        rig_state(r, NULL, id);
    printf("view    of a job in memory        %8.1f us\n", (cn_now_s() - t) * 1e3);
    t = cn_now_s();
    for (int i = 0; i < 1000; i++) {
        bool told = false;

        cn_store_get(r->store, id, on_answer, &told);
        rig_until(r, is_true, &told);
    }
    printf("read    of a job from the store   %8.1f us\n", (cn_now_s() - t) * 1e3);
    list(r, NULL, "list    of 100 jobs               ");
    list(r, "anna", "list    of 100 jobs of a tenant   ");
}

int main(int argc, char **argv)
{
    int jobs = argc > 1 ? atoi(argv[1]) : 10000;
    char id[CN_STORE_ID];
    struct rig r;
    double t;

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    rig_init(&r, "");
    if (argc > 2)
        snprintf(r.dir, sizeof(r.dir), "%s", argv[2]);
    r.queue_capacity = 4 * jobs;
    r.tenant_max_queued = 4 * jobs;
    rig_start(&r);
    submit(&r, jobs, 0, id);
    submit(&r, jobs / 10, 100 << 10, id);
    rig_stop(&r);

    t = cn_now_s();
    rig_begin(&r);
    rig_until(&r, is_open, &r);
    printf("start   with %d waiting jobs: %.3f s until all of them are queued again\n",
           jobs + jobs / 10, cn_now_s() - t);
    ask(&r, id);
    rig_stop(&r);
    if (argc <= 2)
        rig_end(&r);
    return 0;
}
