/* Time. */
#include "base/base.h"
#include "base/clock.h"

#include <time.h>

int64_t cn_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
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
