/* Progress bar and progress lines. */
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
    p->printed_s = cn_now_s();
}

/* The first step of a job is left out: it waits for weights and plans. */
static void measure(struct cn_progress *p, int step)
{
    double now = cn_now_s(), dt = now - p->last_s;

    if (step > 1)
        p->step_s = p->step_s > 0 ? 0.7 * p->step_s + 0.3 * dt : dt;
    p->last_s = now;
}

/* ", 3.42 it/s, 0:12 left" */
static void speed(const struct cn_progress *p, long left, char *text, size_t size)
{
    long s = (long)(p->step_s * (double)left + 0.5);

    text[0] = '\0';
    if (p->step_s > 0)
        snprintf(text, size, p->step_s <= 1 ? ", %.2f it/s, %ld:%02ld left"
                                            : ", %.2f s/it, %ld:%02ld left",
                 p->step_s <= 1 ? 1 / p->step_s : p->step_s, s / 60, s % 60);
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

void cn_progress_step(struct cn_progress *p, int image, int step, int steps)
{
    char before[48] = "", after[64];

    measure(p, step);
    if (p->quiet)
        return;
    speed(p, steps - step + (long)(p->images - image - 1) * steps, after, sizeof(after));
    if (p->images > 1)
        snprintf(before, sizeof(before), "picture %d/%d ", image + 1, p->images);
    if (p->terminal) {
        print_bar(step, steps, before, after);
    } else if (p->last_s - p->printed_s >= LINE_EVERY_S) {
        fprintf(stderr, "%sstep %d/%d%s\n", before, step, steps, after);
        p->printed_s = p->last_s;
    }
}

void cn_progress_clear(struct cn_progress *p)
{
    if (p->terminal && !p->quiet)
        fputs("\r\033[K", stderr);
}
