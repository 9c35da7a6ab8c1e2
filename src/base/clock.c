/* The two clocks: one that only goes forward, for durations and deadlines, and that of the wall,
 * for what people and other processes read. */
#include "base/base.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
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

/* A field of n digits from least to most, and the character behind it; next: where it goes on. */
static bool read_field(const char **next, int n, int least, int most, int *ret)
{
    *ret = 0;
    for (int i = 0; i < n; i++, ++*next) {
        if (**next < '0' || **next > '9')
            return false;
        *ret = *ret * 10 + (**next - '0');
    }
    return *ret >= least && *ret <= most;
}

static bool skip_any(const char **next, const char *chars)
{
    if (**next == '\0' || strchr(chars, **next) == NULL)
        return false;
    ++*next;
    return true;
}

static bool read_date(const char **next, struct tm *ret)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, last;

    if (!read_field(next, 4, 1970, 9999, &year) || !skip_any(next, "-") ||
        !read_field(next, 2, 1, 12, &month) || !skip_any(next, "-"))
        return false;
    last = days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    ret->tm_year = year - 1900;
    ret->tm_mon = month - 1;
    return read_field(next, 2, 1, last, &ret->tm_mday);
}

/* ".015", as microseconds; nothing is 0. */
static bool read_fraction(const char **next, int *ret)
{
    int digits = 0, digit;

    *ret = 0;
    if (!skip_any(next, "."))
        return true;
    for (; **next >= '0' && **next <= '9'; digits++) {
        read_field(next, 1, 0, 9, &digit);
        if (digits < 6)
            *ret = *ret * 10 + digit;
    }
    for (int i = digits; i < 6; i++)
        *ret *= 10;
    return digits >= 1 && digits <= 9;
}

/* "Z" or "+02:00", in seconds. */
static bool read_offset(const char **next, int *ret)
{
    int sign = **next == '-' ? -1 : 1, hours, minutes;

    *ret = 0;
    if (skip_any(next, "Zz"))
        return true;
    if (!skip_any(next, "+-") || !read_field(next, 2, 0, 23, &hours) || !skip_any(next, ":") ||
        !read_field(next, 2, 0, 59, &minutes))
        return false;
    *ret = sign * (hours * 3600 + minutes * 60);
    return true;
}

int64_t cn_time_parse(const char *text)
{
    struct tm tm = {0};
    int us = 0, offset = 0;
    int64_t ret;

    if (!read_date(&text, &tm))
        return -1;
    if (*text != '\0' &&
        (!skip_any(&text, "Tt ") || !read_field(&text, 2, 0, 23, &tm.tm_hour) ||
         !skip_any(&text, ":") || !read_field(&text, 2, 0, 59, &tm.tm_min) ||
         !skip_any(&text, ":") || !read_field(&text, 2, 0, 60, &tm.tm_sec) ||
         !read_fraction(&text, &us) || !read_offset(&text, &offset) || *text != '\0'))
        return -1;
    ret = ((int64_t)timegm(&tm) - offset) * CN_SECOND_US + us;
    return ret < 0 ? -1 : ret;
}
