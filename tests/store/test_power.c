/* store: the power fails, and what was not flushed is gone.
 *
 * Beside the directory of the store there is another one as the disk would have it after a power
 * cut: a file has what it had at its last flush, a name is there after the flush of its folder (and
 * SQLite flushes the folder of its files itself). It is photographed after every single flush and
 * whenever the store has told an end; each photograph must open, be whole, and hold what had been
 * told until then.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fault.h"
#include "rig.h"
#include "store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOBS = 24, N = 2, PHOTOS = 2000 };

struct told {
    unsigned char added, kept, ended;
};

static struct {
    struct rig r;
    struct cn_spec spec; /* of all jobs */
    char disk[80], photos[80];
    uv_mutex_t lock; /* of all below, and of the disk */
    struct told job[JOBS], photo[PHOTOS][JOBS];
    int n_photos;
    int k[JOBS], open; /* of the loop: the next picture; jobs that are not over */
} power;

/* ---- the disk ---- */

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char block[65536];
    size_t n;

    CN_ASSERT(in != NULL && out != NULL);
    while ((n = fread(block, 1, sizeof(block), in)) > 0)
        CN_ASSERT(fwrite(block, 1, n, out) == n);
    fclose(in);
    CN_ASSERT(fclose(out) == 0);
}

static void copy_tree(const char *from, const char *to)
{
    DIR *d = opendir(from);
    const struct dirent *e;

    mkdir(to, 0700);
    while (d != NULL && (e = readdir(d)) != NULL) {
        char *a = cn_xprintf("%s/%s", from, e->d_name), *b = cn_xprintf("%s/%s", to, e->d_name);

        if (e->d_name[0] != '.' && e->d_type == DT_DIR)
            copy_tree(a, b);
        else if (e->d_name[0] != '.')
            copy_file(a, b);
        free(a);
        free(b);
    }
    if (d != NULL)
        closedir(d);
}

static void photograph(void)
{
    char *path = cn_xprintf("%s/%d", power.photos, power.n_photos);

    CN_ASSERT(power.n_photos < PHOTOS);
    copy_tree(power.disk, path);
    memcpy(power.photo[power.n_photos++], power.job, sizeof(power.job));
    free(path);
}

/* The bytes of a flushed file that may have no name yet. */
static char *bytes_of(const struct stat *st)
{
    return cn_xprintf("%s/.%llu", power.disk, (unsigned long long)st->st_ino);
}

static void flush_folder(const char *path, const char *sub)
{
    char *folder = cn_xprintf("%s%s", power.disk, sub);
    DIR *d = opendir(path), *known = opendir(folder);
    const struct dirent *e;

    while (known != NULL && d != NULL && (e = readdir(d)) != NULL) {
        char *real = cn_xprintf("%s/%s", path, e->d_name), *bytes;
        char *name = cn_xprintf("%s/%s", folder, e->d_name);
        struct stat st;

        if (e->d_name[0] != '.' && stat(real, &st) == 0 && S_ISDIR(st.st_mode)) {
            mkdir(name, 0700);
        } else if (e->d_name[0] != '.' && sub[0] != '\0' && stat(real, &st) == 0) {
            bytes = bytes_of(&st);
            if (access(bytes, F_OK) == 0)
                copy_file(bytes, name);
            else
                fclose(fopen(name, "wb")); /* a name without bytes */
            free(bytes);
        }
        free(real);
        free(name);
    }
    if (d != NULL)
        closedir(d);
    if (known != NULL)
        closedir(known);
    free(folder);
}

static void flush_file(const char *path, const char *sub, const struct stat *st)
{
    bool of_sqlite = strrchr(sub, '/') == sub;
    char *to = of_sqlite ? cn_xprintf("%s%s", power.disk, sub) : bytes_of(st);

    copy_file(path, to);
    free(to);
}

static void on_flushed(const char *path)
{
    const char *sub = path + strlen(power.r.dir);
    struct stat st;

    if (strncmp(path, power.r.dir, strlen(power.r.dir)) != 0 || stat(path, &st) < 0)
        return;
    uv_mutex_lock(&power.lock);
    if (S_ISDIR(st.st_mode))
        flush_folder(path, sub);
    else
        flush_file(path, sub, &st);
    photograph();
    uv_mutex_unlock(&power.lock);
}

static void on_removed(const char *path)
{
    char *name = cn_xprintf("%s%s", power.disk, path + strlen(power.r.dir));

    uv_mutex_lock(&power.lock);
    unlink(name);
    uv_mutex_unlock(&power.lock);
    free(name);
}

/* ---- the run ---- */

static void id_of(char id[CN_STORE_ID], int number)
{
    struct cn_store_job j;

    rig_job(&j, "", number, N);
    memcpy(id, j.id, CN_STORE_ID);
}

/* Notes what was told and photographs the disk, in this order. */
static void note(int number, unsigned char added, unsigned char kept, unsigned char ended)
{
    struct told *t = &power.job[number];

    uv_mutex_lock(&power.lock);
    t->added |= added;
    t->kept |= kept;
    t->ended |= ended;
    photograph();
    uv_mutex_unlock(&power.lock);
}

static void go_on(int number);

static void on_ended(void *arg, const struct cn_store_done *done)
{
    int number = (int)(intptr_t)arg;

    CN_ASSERT(done->outcome == CN_STORE_OK);
    note(number, 0, 0, (unsigned char)done->state);
    power.open--;
}

static void on_kept(void *arg, const struct cn_store_done *done)
{
    int number = (int)(intptr_t)arg;

    CN_ASSERT(done->outcome == CN_STORE_OK);
    note(number, 0, (unsigned char)(1 << power.k[number]), 0);
    power.k[number]++;
    go_on(number);
}

static void on_added(void *arg, const struct cn_store_done *done)
{
    int number = (int)(intptr_t)arg;

    CN_ASSERT(done->outcome == CN_STORE_OK);
    note(number, 1, 0, 0);
    go_on(number);
}

static void go_on(int number)
{
    struct cn_store_end end = {.state = CN_STORE_SUCCEEDED, .ended_us = cn_wall_us()};
    struct cn_store_result result = {.k = power.k[number],
                                     .meta = {.width = 8, .height = 8, .bytes = 3000}};
    void *arg = (void *)(intptr_t)number;
    char id[CN_STORE_ID];

    id_of(id, number);
    if (power.k[number] < N)
        cn_store_result(power.r.s, id, &result, rig_picture(id, power.k[number], 3000), on_kept,
                        arg);
    else
        cn_store_end(power.r.s, id, &end, on_ended, arg);
}

static void begin(int number)
{
    struct cn_store_job job;

    rig_job(&job, "anna", number, N);
    CN_ASSERT(cn_store_add(power.r.s, &job, &power.spec, NULL, on_added, (void *)(intptr_t)number,
                           NULL) == CN_OK);
    power.open++;
}

static void run(void)
{
    static const struct cn_fault_watch watch = {on_flushed, on_removed};

    cn_fault_register();
    cn_fault_watch(&watch);
    power.r.o.io = &cn_fault_io;
    power.r.o.vfs = "fault";
    CN_ASSERT(rig_open(&power.r, NULL) == CN_OK);
    rig_spec(&power.spec, N, 2000);
    for (int i = 0; i < JOBS; i++) {
        begin(i);
        while (power.open >= 4)
            uv_run(&power.r.loop, UV_RUN_ONCE);
    }
    while (power.open > 0)
        uv_run(&power.r.loop, UV_RUN_ONCE);
    rig_close(&power.r);
    cn_spec_release(&power.spec);
}

/* ---- the photographs ---- */

static int wrong(int photo, int number, const char *what)
{
    fprintf(stderr, "photograph %d, job %d: %s\n", photo, number, what);
    return 1;
}

static int check_job(struct rig *r, int photo, int number)
{
    const struct told *t = &power.photo[photo][number];
    struct cn_store_result result[N];
    struct cn_store_job job;
    char id[CN_STORE_ID];
    int n = 0, have = 0, bad = 0;

    id_of(id, number);
    if (rig_get(r, id, &job) != 0)
        return t->added ? wrong(photo, number, "was accepted and is lost") : 0;
    if (rig_results(r, id, result, N, &n) != 0)
        bad += wrong(photo, number, "its pictures cannot be read");
    for (int i = 0; i < n; i++)
        have |= 1 << result[i].k;
    if ((have & t->kept) != t->kept)
        bad += wrong(photo, number, "a picture that was kept is lost");
    if (t->ended && job.state != (enum cn_store_state)t->ended)
        bad += wrong(photo, number, "its final state is lost");
    if (t->ended && number % 2 == 1 && job.delivery.state != CN_STORE_WEBHOOK_PENDING)
        bad += wrong(photo, number, "nobody will be told of its end");
    cn_store_job_release(&job);
    return bad;
}

static int check_photo(int photo)
{
    struct cn_err err = CN_ERR_INIT;
    struct rig r;
    int bad = 0;
    char *path = cn_xprintf("%s/%d", power.photos, photo);

    rig_init_at(&r, path);
    free(path);
    if (rig_open(&r, &err) < 0)
        bad = wrong(photo, -1, err.msg);
    for (int i = 0; i < JOBS && bad == 0; i++)
        bad += check_job(&r, photo, i);
    rig_close(&r);
    bad += rig_check(r.dir);
    rig_end(&r);
    return bad;
}

int main(void)
{
    int bad = 0, told = 0;

    rig_init(&power.r);
    snprintf(power.disk, sizeof(power.disk), "%s-disk", power.r.dir);
    snprintf(power.photos, sizeof(power.photos), "%s-photos", power.r.dir);
    CN_ASSERT(mkdir(power.disk, 0700) == 0 && mkdir(power.photos, 0700) == 0);
    uv_mutex_init(&power.lock);
    run();
    for (int i = 0; i < power.n_photos && bad == 0; i++)
        bad += check_photo(i);
    for (int i = 0; i < JOBS; i++)
        told += power.job[i].ended == CN_STORE_SUCCEEDED;
    printf("%d power cuts, %d jobs, %d faults\n", power.n_photos, told, bad);
    uv_mutex_destroy(&power.lock);
    rig_remove(power.disk);
    rig_remove(power.photos);
    rig_end(&power.r);
    return bad > 0 || told < JOBS || power.n_photos < 3 * JOBS;
}
