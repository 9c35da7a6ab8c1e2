/* The two clocks: one that only goes forward, for durations and deadlines, and that of the wall,
 * for what people and other processes read. */
#include "base/base.h"
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

int64_t cn_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * CN_SECOND_NS + t.tv_nsec;
}

double cn_now_s(void)
{
    return (double)cn_now_ns() * 1e-9;
}

int64_t cn_wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void cn_time_text(int64_t us, char ret[CN_TIME_TEXT])
{
    time_t s = (time_t)(us / 1000000);
    char whole[24];
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret, CN_TIME_TEXT, "%s.%03dZ", whole, (int)(us / 1000 % 1000));
}
