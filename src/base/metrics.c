/* Counters, gauges and histograms by name and labels, and the text that Prometheus reads. */
#include "base/base.h"
#include "base/metrics.h"
#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct series {
    char *value[CN_METRIC_LABELS];
    double sum;       /* the value itself of counters and gauges */
    uint64_t *bucket; /* n_bounds + 1, not cumulated */
};

struct cn_metric {
    enum cn_metric_kind kind;
    const char *name, *help;
    const double *bound;
    int n_bounds, n_keys;
    char *key[CN_METRIC_LABELS];
    struct series *series;
    size_t count, cap;
    STAILQ_ENTRY(cn_metric) link;
};

struct cn_metrics {
    STAILQ_HEAD(, cn_metric) metrics; /* in the order in which they were added */
};

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

struct cn_metrics *cn_metrics_new(void)
{
    struct cn_metrics *r = cn_xcalloc(1, sizeof(*r));

    STAILQ_INIT(&r->metrics);
    return r;
}

static void free_metric(struct cn_metric *m)
{
    for (size_t i = 0; i < m->count; i++) {
        for (int k = 0; k < m->n_keys; k++)
            free(m->series[i].value[k]);
        free(m->series[i].bucket);
    }
    for (int k = 0; k < m->n_keys; k++)
        free(m->key[k]);
    free(m->series);
    free(m);
}

void cn_metrics_free(struct cn_metrics *r)
{
    while (r != NULL && !STAILQ_EMPTY(&r->metrics)) {
        struct cn_metric *m = STAILQ_FIRST(&r->metrics);

        STAILQ_REMOVE_HEAD(&r->metrics, link);
        free_metric(m);
    }
    free(r);
}

static void split_keys(struct cn_metric *m, const char *labels)
{
    while (labels != NULL && *labels != '\0') {
        size_t n = strcspn(labels, ",");

        CN_ASSERT(m->n_keys < CN_METRIC_LABELS);
        m->key[m->n_keys++] = cn_xprintf("%.*s", (int)n, labels);
        labels += labels[n] == ',' ? n + 1 : n;
    }
}

struct cn_metric *cn_metric_add(struct cn_metrics *r, enum cn_metric_kind kind, const char *name,
                                const char *help, const char *labels)
{
    struct cn_metric *m = cn_xcalloc(1, sizeof(*m));

    m->kind = kind;
    m->name = name;
    m->help = help;
    split_keys(m, labels);
    STAILQ_INSERT_TAIL(&r->metrics, m, link);
    return m;
}

struct cn_metric *cn_metric_add_histogram(struct cn_metrics *r, const char *name, const char *help,
                                          const char *labels, const double *bound, int n_bounds)
{
    struct cn_metric *m = cn_metric_add(r, CN_HISTOGRAM, name, help, labels);

    m->bound = bound;
    m->n_bounds = n_bounds;
    return m;
}

static struct series *find(const struct cn_metric *m, va_list *ap, const char **value)
{
    for (int k = 0; k < m->n_keys; k++)
        value[k] = va_arg(*ap, const char *);
    for (size_t i = 0; i < m->count; i++) {
        int k = 0;

        while (k < m->n_keys && strcmp(m->series[i].value[k], value[k]) == 0)
            k++;
        if (k == m->n_keys)
            return &m->series[i];
    }
    return NULL;
}

static struct series *obtain(struct cn_metric *m, va_list *ap)
{
    const char *value[CN_METRIC_LABELS];
    struct series *s = find(m, ap, value);

    if (s != NULL)
        return s;
    if (m->count == CN_METRIC_SERIES)
        return &m->series[0];
    m->series = cn_grow(m->series, m->count, &m->cap, sizeof(*m->series));
    s = &m->series[m->count++];
    memset(s, 0, sizeof(*s));
    for (int k = 0; k < m->n_keys; k++)
        s->value[k] = cn_xstrdup(value[k]);
    if (m->kind == CN_HISTOGRAM)
        s->bucket = cn_xcalloc((size_t)m->n_bounds + 1, sizeof(*s->bucket));
    return s;
}

void cn_metric_inc(struct cn_metric *m, double by, ...)
{
    va_list ap;

    va_start(ap, by);
    obtain(m, &ap)->sum += by;
    va_end(ap);
}

void cn_metric_set(struct cn_metric *m, double value, ...)
{
    va_list ap;

    va_start(ap, value);
    obtain(m, &ap)->sum = value;
    va_end(ap);
}

void cn_metric_observe(struct cn_metric *m, double value, ...)
{
    va_list ap;
    struct series *s;
    int i = 0;

    va_start(ap, value);
    s = obtain(m, &ap);
    va_end(ap);
    while (i < m->n_bounds && value > m->bound[i])
        i++;
    s->bucket[i]++;
    s->sum += value;
}

double cn_metric_get(const struct cn_metric *m, ...)
{
    const char *value[CN_METRIC_LABELS];
    struct series *s;
    va_list ap;

    va_start(ap, m);
    s = find(m, &ap, value);
    va_end(ap);
    return s == NULL ? 0 : s->sum;
}

/* Appends the label value with \ " and line feed escaped, as the format demands. */
static void put_value(struct cn_buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n')
            cn_buf_adds(out, "\\n", NULL);
        else if (*s == '"' || *s == '\\')
            cn_buf_printf(out, NULL, "\\%c", *s);
        else
            cn_buf_add(out, s, 1, NULL);
    }
}

/* name suffix {labels,extra}; extra is "" or a finished pair. */
static void put_head(struct cn_buf *out, const struct cn_metric *m, const struct series *s,
                     const char *suffix, const char *extra)
{
    const char *sep = "{";

    cn_buf_printf(out, NULL, "%s%s", m->name, suffix);
    for (int k = 0; k < m->n_keys; k++, sep = ",") {
        cn_buf_printf(out, NULL, "%s%s=\"", sep, m->key[k]);
        put_value(out, s->value[k]);
        cn_buf_adds(out, "\"", NULL);
    }
    if (extra[0] != '\0') {
        cn_buf_printf(out, NULL, "%s%s", sep, extra);
        sep = ",";
    }
    cn_buf_adds(out, sep[0] == ',' ? "} " : " ", NULL);
}

static int put_number(struct cn_buf *out, double v, struct cn_err *err)
{
    if (v == floor(v) && fabs(v) < 1e15)
        return cn_buf_printf(out, err, "%.0f\n", v);
    return cn_buf_printf(out, err, "%.15g\n", v);
}

static int put_histogram(struct cn_buf *out, const struct cn_metric *m, const struct series *s,
                         struct cn_err *err)
{
    uint64_t total = 0;
    char le[48];

    for (int i = 0; i <= m->n_bounds; i++) {
        total += s->bucket[i];
        if (i < m->n_bounds)
            snprintf(le, sizeof(le), "le=\"%g\"", m->bound[i]);
        else
            snprintf(le, sizeof(le), "le=\"+Inf\"");
        put_head(out, m, s, "_bucket", le);
        put_number(out, (double)total, NULL);
    }
    put_head(out, m, s, "_sum", "");
    put_number(out, s->sum, NULL);
    put_head(out, m, s, "_count", "");
    return put_number(out, (double)total, err);
}

int cn_metrics_render(const struct cn_metrics *r, struct cn_buf *out, struct cn_err *err)
{
    const struct cn_metric *m;
    int rc = CN_OK;

    STAILQ_FOREACH(m, &r->metrics, link)
    {
        rc = cn_buf_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                           kind_names[m->kind]);
        for (size_t i = 0; rc == CN_OK && i < m->count; i++) {
            if (m->kind == CN_HISTOGRAM) {
                rc = put_histogram(out, m, &m->series[i], err);
                continue;
            }
            put_head(out, m, &m->series[i], "", "");
            rc = put_number(out, m->series[i].sum, err);
        }
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}
