/* What a person sees while a picture is drawn: a bar on a terminal, lines elsewhere. */
#include "base/base.h"
#include "cli/progress.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24, LINE_EVERY_S = 10 };

void cn_progress_init(struct cn_progress *p, bool quiet, int images)
{
    *p = (struct cn_progress){
        .quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1, .images = images};
    pthread_mutex_init(&p->lock, NULL);
    p->printed_s = cn_now_s();
}

/* The first step of each image is left out: it waits for weights and plans. */
static void measure(struct cn_progress *p, double now)
{
    p->done++;
    if (p->done <= p->images) {
        p->first_s = now;
        p->first = p->done;
    }
}

/* ", 3.42 it/s, 0:12 left" */
static void speed(const struct cn_progress *p, long left, double now, char *text, size_t size)
{
    int n = p->done - p->first;
    double step_s = n > 0 ? (now - p->first_s) / n : 0;
    long s = (long)(step_s * (double)left + 0.5);

    text[0] = '\0';
    if (step_s > 0)
        snprintf(text, size, step_s <= 1 ? ", %.2f it/s, %ld:%02ld left"
                                         : ", %.2f s/it, %ld:%02ld left",
                 step_s <= 1 ? 1 / step_s : step_s, s / 60, s % 60);
}

static void print_bar(int step, int steps, const char *before, const char *after)
{
    char bar[BAR_WIDTH + 1];
    int full = step * BAR_WIDTH / steps;

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s[%s] %d/%d%s", before, bar, step, steps, after);
}

void cn_progress_step(struct cn_progress *p, int steps)
{
    char before[48] = "", after[64];
    double now = cn_now_s();
    int all = steps * p->images;

    pthread_mutex_lock(&p->lock);
    measure(p, now);
    speed(p, all - p->done, now, after, sizeof(after));
    if (p->images > 1)
        snprintf(before, sizeof(before), "%d pictures ", p->images);
    if (p->terminal && !p->quiet) {
        print_bar(p->done, all, before, after);
    } else if (!p->quiet && now - p->printed_s >= LINE_EVERY_S) {
        fprintf(stderr, "%sstep %d/%d%s\n", before, p->done, all, after);
        p->printed_s = now;
    }
    pthread_mutex_unlock(&p->lock);
}

void cn_progress_pause(struct cn_progress *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->terminal && !p->quiet)
        fputs("\r\033[K", stderr);
}

void cn_progress_go_on(struct cn_progress *p)
{
    pthread_mutex_unlock(&p->lock);
}

void cn_progress_release(struct cn_progress *p)
{
    cn_progress_pause(p);
    cn_progress_go_on(p);
    pthread_mutex_destroy(&p->lock);
}
