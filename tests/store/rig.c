/* Helpers of the store's tests. */
#include "base/base.h"
#include "rig.h"
#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_open(void *arg, int rc, const struct cn_err *err)
{
    struct rig *r = arg;

    r->opened++;
    r->open_rc = rc;
    snprintf(r->open_why, sizeof(r->open_why), "%s", err != NULL ? err->msg : "");
}

void rig_init_at(struct rig *r, const char *dir)
{
    memset(r, 0, sizeof(*r));
    uv_loop_init(&r->loop);
    snprintf(r->dir, sizeof(r->dir), "%s", dir);
    r->o = (struct cn_store_options)CN_STORE_DEFAULTS;
    r->o.loop = &r->loop;
    r->o.dir = r->dir;
    r->o.sweep_s = 3600;
    r->o.min_free_percent = 0;
    r->o.result_patience_s = 0;
    r->o.on_open = on_open;
    r->o.arg = r;
}

void rig_init(struct rig *r)
{
    char memory[] = "/dev/shm/cn-store-XXXXXX", disk[] = "/tmp/cn-store-XXXXXX", *dir;

    dir = mkdtemp(memory); /* fsync costs nothing there, and is done all the same */
    if (dir == NULL)
        dir = mkdtemp(disk);
    CN_ASSERT(dir != NULL);
    rig_init_at(r, dir);
}

bool rig_until(struct rig *r, const int *what, int n)
{
    int64_t end = cn_now_ns() + INT64_C(60000000000);

    while (*what < n && cn_now_ns() < end)
        uv_run(&r->loop, UV_RUN_ONCE);
    return *what >= n;
}

int rig_open(struct rig *r, struct cn_err *err)
{
    struct cn_store_facts f;
    int rc;

    r->opened = 0;
    if ((rc = cn_store_open(&r->o, &r->s, err)) < 0)
        return rc;
    cn_store_facts(r->s, &f);
    if (f.phase == CN_STORE_OPENING && f.failing) /* it waits for a better disk */
        return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
    CN_ASSERT(rig_until(r, &r->opened, 1));
    return r->open_rc;
}

void rig_close(struct rig *r)
{
    if (r->s == NULL)
        return;
    cn_store_close(r->s);
    while (!cn_store_gone(r->s))
        uv_run(&r->loop, UV_RUN_ONCE);
    cn_store_free(r->s);
    r->s = NULL;
}

void rig_remove(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        char *inner;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        inner = cn_xprintf("%s/%s", path, e->d_name);
        if (unlink(inner) < 0)
            rig_remove(inner);
        free(inner);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

void rig_end(struct rig *r)
{
    rig_close(r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    CN_ASSERT(uv_loop_close(&r->loop) == 0);
    rig_remove(r->dir);
}

void rig_hear(void *arg, const struct cn_store_done *done)
{
    struct heard *h = arg;

    h->n++;
    h->last = *done;
}

void rig_job(struct cn_store_job *j, const char *tenant, int number, int n)
{
    static const struct cn_store_webhook webhook = {"https://a.example/hook?x", "a.example",
                                                    "mine"};

    memset(j, 0, sizeof(*j));
    snprintf(j->id, sizeof(j->id), "%02djob%021d", number % 100, number);
    snprintf(j->tenant, sizeof(j->tenant), "%s", tenant);
    j->attempt = 1;
    j->n = n;
    j->cost = 7.5;
    j->created_us = cn_wall_us() + number;
    j->deadline_us = j->created_us + 1000;
    j->webhook = number % 2 == 1 ? &webhook : NULL;
}

void rig_spec(struct cn_spec *s, int n, size_t image_bytes)
{
    cn_spec_init(s);
    free(s->prompt);
    s->prompt = cn_xstrdup("a red apple");
    free(s->model);
    s->model = cn_xstrdup("emoji");
    s->n = n;
    s->seed = UINT64_C(0xfedcba9876543210);
    if (image_bytes > 0) {
        s->init_image.data = cn_try_alloc(image_bytes);
        s->init_image.len = image_bytes;
        memset(s->init_image.data, 'i', image_bytes);
    }
}

void rig_id(char id[CN_STORE_ID], int number)
{
    struct cn_store_job j;

    rig_job(&j, "", number, 1);
    memcpy(id, j.id, CN_STORE_ID);
}

void rig_sql(const struct rig *r, const char *text)
{
    char path[128];
    sqlite3 *h;

    snprintf(path, sizeof(path), "%s/jobs.db", r->dir);
    CN_ASSERT(sqlite3_open(path, &h) == SQLITE_OK);
    CN_ASSERT(sqlite3_exec(h, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(h);
}

int rig_add(struct rig *r, int number, int n, size_t image_bytes)
{
    struct heard h = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    int rc;

    rig_job(&j, "anna", number, n);
    rig_spec(&spec, n, image_bytes);
    rc = cn_store_add(r->s, &j, &spec, NULL, rig_hear, &h, NULL);
    if (rc == CN_OK) {
        CN_ASSERT(rig_until(r, &h.n, 1));
        rc = (int)h.last.outcome;
    }
    cn_spec_release(&spec);
    return rc;
}

unsigned char *rig_picture(const char *id, int k, size_t bytes)
{
    unsigned char *p = cn_try_alloc(bytes);

    for (size_t i = 0, n = strlen(id); i < bytes; i++)
        p[i] = (unsigned char)(id[(i + 7) % n] + k + (int)(i >> 8));
    return p;
}

int rig_result(struct rig *r, const char *id, int k, size_t bytes)
{
    struct cn_store_result result = {
        .k = k, .meta = {.seed = UINT64_MAX - 3, .width = 8, .height = 9, .bytes = bytes}};
    struct heard h = {.n = 0};

    cn_store_result(r->s, id, &result, rig_picture(id, k, bytes), rig_hear, &h);
    CN_ASSERT(rig_until(r, &h.n, 1));
    return (int)h.last.outcome;
}

int rig_finish(struct rig *r, const char *id, enum cn_store_state state, struct heard *h)
{
    struct cn_store_end end = {.state = state, .attempt = 1, .ended_us = cn_wall_us()};
    struct heard mine = {.n = 0};

    if (h == NULL)
        h = &mine;
    h->n = 0;
    if (state != CN_STORE_SUCCEEDED)
        cn_fail(&end.err, CN_ECANCELED, "nobody waits");
    cn_store_end(r->s, id, &end, rig_hear, h);
    CN_ASSERT(rig_until(r, &h->n, 1));
    return (int)h->last.outcome;
}

/* ---- questions ---- */

struct asked {
    struct cn_store_answer a; /* what is in it is the rig's */
    int n;
};

static void take_answer(void *arg, struct cn_store_answer *a)
{
    struct asked *q = arg;

    q->a = *a;
    q->n++;
    a->n = 0;
    a->row = NULL;
    a->fd = -1;
    memset(&a->spec, 0, sizeof(a->spec));
}

/* Frees what the answer has left. */
static int waited(struct rig *r, struct asked *q)
{
    CN_ASSERT(rig_until(r, &q->n, 1));
    return (int)q->a.outcome;
}

static void drop_rows(struct asked *q)
{
    for (int i = 0; i < q->a.n; i++) {
        cn_store_job_release(&q->a.row[i].job);
        free(q->a.row[i].result);
    }
    free(q->a.row);
}

int rig_get(struct rig *r, const char *id, struct cn_store_job *ret)
{
    struct asked q = {.n = 0};
    int rc;

    cn_store_get(r->s, id, take_answer, &q);
    if ((rc = waited(r, &q)) == 0) {
        *ret = q.a.row[0].job;
        q.a.row[0].job.readable = false;
        q.a.row[0].job.warnings = NULL;
    }
    drop_rows(&q);
    return rc;
}

int rig_inputs(struct rig *r, const char *id, struct cn_spec *ret)
{
    struct asked q = {.n = 0};
    int rc;

    cn_store_inputs(r->s, id, take_answer, &q);
    rc = waited(r, &q);
    *ret = q.a.spec;
    drop_rows(&q);
    return rc;
}

int rig_results(struct rig *r, const char *id, struct cn_store_result *ret, int max, int *ret_n)
{
    struct asked q = {.n = 0};
    int rc;

    cn_store_get(r->s, id, take_answer, &q);
    if ((rc = waited(r, &q)) == 0) {
        *ret_n = CN_MIN(q.a.row[0].n_results, max);
        for (int i = 0; i < *ret_n; i++)
            ret[i] = q.a.row[0].result[i];
    }
    drop_rows(&q);
    return rc;
}

int rig_open_result(struct rig *r, const char *id, int k, struct cn_store_result *ret, int *ret_fd)
{
    struct asked q = {.n = 0};
    int rc;

    cn_store_picture(r->s, id, k, take_answer, &q);
    rc = waited(r, &q);
    *ret = q.a.result;
    *ret_fd = q.a.fd;
    return rc;
}

int rig_find_key(struct rig *r, const struct cn_store_key *key, char ret_id[CN_STORE_ID],
                 unsigned char ret_fingerprint[CN_STORE_FINGERPRINT])
{
    struct asked q = {.n = 0};
    int rc;

    cn_store_find_key(r->s, key, take_answer, &q);
    rc = waited(r, &q);
    memcpy(ret_id, q.a.id, CN_STORE_ID);
    memcpy(ret_fingerprint, q.a.fingerprint, CN_STORE_FINGERPRINT);
    return rc;
}

int rig_list(struct rig *r, const struct cn_store_query *query, char *text)
{
    char after_id[CN_STORE_ID] = "";
    int64_t after_us = 0;
    bool more;
    int rc;

    do {
        struct asked q = {.n = 0};

        if (query != NULL)
            cn_store_list(r->s, query, take_answer, &q);
        else
            cn_store_unfinished(r->s, after_us, after_id, take_answer, &q);
        rc = waited(r, &q);
        for (int i = 0; i < q.a.n; i++)
            snprintf(text + strlen(text), 400 - strlen(text), "%.2s:%s:%d ", q.a.row[i].job.id,
                     cn_enum_store_state.name[q.a.row[i].job.state], q.a.row[i].job.attempt);
        more = q.a.more;
        if (q.a.n > 0) {
            after_us = q.a.row[q.a.n - 1].job.created_us;
            memcpy(after_id, q.a.row[q.a.n - 1].job.id, CN_STORE_ID);
        }
        drop_rows(&q);
    } while (rc == 0 && more);
    return rc;
}

/* ---- database against files ---- */

static int fault(const char *what, const char *which)
{
    fprintf(stderr, "store: %s: %s\n", what, which);
    return 1;
}

static int check_one_file(const char *dir, sqlite3_stmt *st)
{
    const char *file = (const char *)sqlite3_column_text(st, 0);
    const char *id = (const char *)sqlite3_column_text(st, 1);
    int k = sqlite3_column_int(st, 2), bad = 0;
    size_t bytes = (size_t)sqlite3_column_int64(st, 3);
    unsigned char *expect = rig_picture(id, k, bytes), *have = cn_try_alloc(bytes + 1);
    char *path = cn_xprintf("%s/results/%s", dir, file);
    FILE *f = fopen(path, "rb");

    if (f == NULL)
        bad = fault("a row without its file", path);
    else if (fread(have, 1, bytes + 1, f) != bytes || memcmp(have, expect, bytes) != 0)
        bad = fault("a file with other bytes", path);
    if (f != NULL)
        fclose(f);
    free(path);
    free(expect);
    free(have);
    return bad;
}

static int each_row(sqlite3 *h, const char *sql, const char *dir,
                    int (*check)(const char *dir, sqlite3_stmt *st))
{
    sqlite3_stmt *st;
    int bad = 0;

    if (sqlite3_prepare_v2(h, sql, -1, &st, NULL) != SQLITE_OK)
        return fault("the database cannot be read", sqlite3_errmsg(h));
    while (sqlite3_step(st) == SQLITE_ROW)
        bad += check(dir, st);
    if (sqlite3_reset(st) != SQLITE_OK)
        bad += fault("the database cannot be read", sqlite3_errmsg(h));
    sqlite3_finalize(st);
    return bad;
}

static int must_be_ok(const char *dir, sqlite3_stmt *st)
{
    const char *text = (const char *)sqlite3_column_text(st, 0);

    (void)dir;
    return strcmp(text, "ok") == 0 ? 0 : fault("integrity", text);
}

static int must_not_be(const char *dir, sqlite3_stmt *st)
{
    return fault(dir, (const char *)sqlite3_column_text(st, 0));
}

int rig_check(const char *dir)
{
    char *path = cn_xprintf("%s/jobs.db", dir);
    sqlite3 *h;
    int bad = 0;

    if (sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        bad = fault("cannot open", path);
    if (bad == 0) {
        sqlite3_busy_timeout(h, 10000);
        bad += each_row(h, "pragma integrity_check", dir, must_be_ok);
        bad += each_row(h, "select file, job, k, bytes from results", dir, check_one_file);
        bad += each_row(h,
                        "select id from jobs where state = 'succeeded' and gone = 0 and n <>"
                        " (select count(*) from results where job = jobs.id)",
                        "succeeded without its pictures", must_not_be);
        bad += each_row(h,
                        "select id from jobs where state not in ('queued', 'running') and exists"
                        " (select 1 from payload where job = jobs.seq)",
                        "a payload of a job that is over", must_not_be);
        bad += each_row(h,
                        "select job from results where not exists"
                        " (select 1 from jobs where id = job)",
                        "a picture without a job", must_not_be);
        bad += each_row(h,
                        "select id from jobs where state in ('queued', 'running')"
                        " and (ended <> 0 or gone <> 0)",
                        "a job that is over and is not", must_not_be);
        bad += each_row(h,
                        "select id from jobs where (substr(id, 2, 1) % 2 = 1) <>"
                        " exists (select 1 from webhooks where job = seq)",
                        "a webhook that is not kept", must_not_be);
        bad += each_row(h,
                        "select url from webhooks left join jobs on seq = job where id is null"
                        " or (webhooks.state = 'waiting') <> (jobs.state in ('queued', 'running'))",
                        "a webhook that does not belong to its job", must_not_be);
    }
    sqlite3_close(h);
    free(path);
    return bad;
}
