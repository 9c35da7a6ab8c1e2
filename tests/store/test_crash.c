/* store: a process that uses it is killed at random instants, again and again, on one directory.
 *
 * What the store told the process before it died, the process wrote into memory that it shares with
 * its parent. After each death the parent opens the directory and holds it to that: what was told
 * as kept is there, a final state never changes, nothing is there twice, and the database and the
 * files agree. Arguments: rounds (default 200), seed.
 */
#include "base/base.h"
#include "rig.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_JOBS = 200000, FLIGHT = 40, MAX_N = 3 };

/* What is known of one job; by the process that the store told, and by the parent. */
struct told {
    unsigned char added, kept; /* kept: a bit for each picture */
    unsigned char ended;       /* enum cn_store_state; 0: was not told */
    unsigned char seen;        /* final state that the parent saw; 0: none */
};

struct shared {
    volatile int next; /* number of the next job */
    struct told job[MAX_JOBS];
};

static struct shared *shared;
static uint64_t dice;

static unsigned roll(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)(dice % sides);
}

/* ---- the process that dies ---- */

struct work {
    struct rig *r;
    int number, n, k; /* pictures; the one that is being kept */
    char id[CN_STORE_ID];
    struct cn_spec spec; /* until it was added */
};

static int in_flight;

static void on_ended(void *arg, const struct cn_store_done *done)
{
    struct work *w = arg;

    if (done->outcome == CN_STORE_OK)
        shared->job[w->number].ended = (unsigned char)done->state;
    in_flight--;
    free(w);
}

static void end_it(struct work *w, enum cn_store_state state)
{
    struct cn_store_end end = {.state = state, .attempt = 1, .ended_us = cn_wall_us()};

    if (state != CN_STORE_SUCCEEDED)
        cn_fail(&end.err, CN_ECANCELED, "enough");
    cn_store_end(w->r->s, w->id, &end, on_ended, w);
}

static void keep_next(struct work *w);

static void on_kept(void *arg, const struct cn_store_done *done)
{
    struct work *w = arg;

    if (done->outcome == CN_STORE_OK)
        shared->job[w->number].kept |= (unsigned char)(1 << w->k);
    w->k++;
    keep_next(w);
}

static void keep_next(struct work *w)
{
    size_t bytes = 100 + roll(20000);
    struct cn_store_result result = {.k = w->k, .meta = {.width = 8, .height = 8, .bytes = bytes}};

    if (w->k == w->n)
        end_it(w, CN_STORE_SUCCEEDED);
    else if (roll(20) == 0)
        end_it(w, CN_STORE_CANCELLED);
    else
        cn_store_result(w->r->s, w->id, &result, rig_picture(w->id, w->k, bytes), on_kept, w);
}

static void on_added(void *arg, const struct cn_store_done *done)
{
    struct work *w = arg;

    if (done->outcome != CN_STORE_OK)
        _exit(3);
    cn_spec_release(&w->spec);
    shared->job[w->number].added = 1;
    if (roll(8) == 0) { /* is left waiting */
        in_flight--;
        free(w);
        return;
    }
    cn_store_start(w->r->s, w->id, 1, 0, false, NULL, NULL);
    keep_next(w);
}

static void begin(struct rig *r)
{
    struct work *w = cn_xcalloc(1, sizeof(*w));
    struct cn_store_job job;

    w->r = r;
    w->number = shared->next++;
    w->n = 1 + (int)roll(MAX_N);
    rig_job(&job, "anna", w->number, w->n);
    memcpy(w->id, job.id, sizeof(w->id));
    rig_spec(&w->spec, w->n, roll(3) == 0 ? roll(50000) : 0);
    if (cn_store_add(r->s, &job, &w->spec, NULL, on_added, w, NULL) < 0)
        _exit(4);
    in_flight++;
}

static void work_until_killed(const char *dir)
{
    struct rig r;

    rig_init_at(&r, dir);
    if (rig_open(&r, NULL) != CN_OK)
        _exit(5);
    while (shared->next < MAX_JOBS - 1) {
        while (in_flight < FLIGHT)
            begin(&r);
        if (roll(50) == 0)
            cn_store_sweep(r.s, NULL, NULL);
        uv_run(&r.loop, UV_RUN_ONCE);
    }
    _exit(0);
}

/* ---- the parent ---- */

static int wrong(int number, const char *what)
{
    fprintf(stderr, "job %d: %s\n", number, what);
    return 1;
}

static int check_one(struct rig *r, int number)
{
    struct told *t = &shared->job[number];
    struct cn_store_result result[MAX_N];
    struct cn_store_job job;
    int n = 0, bad = 0, have = 0;

    rig_job(&job, "", number, 1);
    if (rig_get(r, job.id, &job) != 0)
        return t->added ? wrong(number, "was accepted and is lost") : 0;
    if (rig_results(r, job.id, result, MAX_N, &n) != 0)
        return wrong(number, "its pictures cannot be read");
    for (int i = 0; i < n; i++)
        have |= 1 << result[i].k;
    if ((have & t->kept) != t->kept)
        bad += wrong(number, "a picture that was kept is lost");
    if (t->ended && job.state != (enum cn_store_state)t->ended)
        bad += wrong(number, "its final state is another one than was told");
    if (t->ended && number % 2 == 1 && job.delivery.state != CN_STORE_WEBHOOK_PENDING)
        bad += wrong(number, "nobody will be told of its end");
    if (t->seen && job.state != (enum cn_store_state)t->seen)
        bad += wrong(number, "its final state has changed");
    if (job.state == CN_STORE_RUNNING)
        bad += wrong(number, "runs, and nobody runs it");
    if (job.state == CN_STORE_SUCCEEDED && n != job.n)
        bad += wrong(number, "succeeded without its pictures");
    t->seen = job.state > CN_STORE_RUNNING ? (unsigned char)job.state : 0;
    cn_store_job_release(&job);
    return bad;
}

/* Jobs of some rounds ago are looked at only now and then. */
static int check_all(struct rig *r, int from)
{
    struct cn_err err = CN_ERR_INIT;
    int bad = 0;

    if (rig_open(r, &err) != CN_OK)
        return wrong(-1, err.msg);
    for (int i = from; i < shared->next; i++)
        bad += check_one(r, i);
    rig_close(r);
    return bad;
}

static int round_of(struct rig *r, int number, int from, bool thorough)
{
    int status, bad;
    pid_t pid = fork();

    if (pid == 0) {
        dice += (uint64_t)number * 7919;
        work_until_killed(r->dir);
    }
    usleep(500 + roll(roll(4) == 0 ? 60000 : 8000));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return wrong(-1, "the process ended by itself");
    bad = check_all(r, thorough ? 0 : from);
    return thorough ? bad + rig_check(r->dir) : bad;
}

int main(int argc, char **argv)
{
    const char *quick = getenv("CN_QUICK"), *kills = getenv("CN_KILLS");
    int rounds = argc > 1                       ? atoi(argv[1])
                 : kills != NULL                ? 10 * atoi(kills)
                 : quick != NULL && atoi(quick) ? 60
                                                : 200;
    int bad = 0, from = 0, added = 0, ended = 0;
    struct rig r;

    dice = argc > 2 ? strtoull(argv[2], NULL, 10) : cn_random_seed() | 1;
    printf("seed %llu\n", (unsigned long long)dice);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CN_ASSERT(shared != MAP_FAILED);
    rig_init(&r);
    for (int i = 0; i < rounds && bad == 0; i++) {
        int begun = shared->next;

        bad = round_of(&r, i, from, i % 20 == 19 || i == rounds - 1);
        from = begun;
    }
    for (int i = 0; i < shared->next; i++) {
        added += shared->job[i].added;
        ended += shared->job[i].ended > 0;
    }
    printf("%d kills, %d jobs begun, %d accepted, %d ended, %d faults\n", rounds, shared->next,
           added, ended, bad);
    rig_end(&r);
    return bad > 0;
}
