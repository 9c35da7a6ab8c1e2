/* Metrics in the Prometheus text format 0.0.4.
 *
 * One thread. A family has a fixed name, kind and set of label keys; a series is a family with
 * label values. Values come from closed sets only; as a last defence a family stops at
 * CN_METRIC_SERIES series and counts the rest in the series made first.
 *
 *     m = cn_metric_add(reg, CN_COUNTER, "x_requests_total", "Requests.", "route,code");
 *     cn_metric_inc(m, 1, "/v1/images", "200");
 */
#ifndef CN_BASE_METRICS_H
#define CN_BASE_METRICS_H

#include "base/base.h"
#include "base/buf.h"

enum { CN_METRIC_SERIES = 256, CN_METRIC_LABELS = 3 };

enum cn_metric_kind { CN_COUNTER, CN_GAUGE, CN_HISTOGRAM };

struct cn_metrics *cn_metrics_new(void);
void cn_metrics_free(struct cn_metrics *r);

/* name, help and labels ("a,b", NULL for none) must outlive the registry. */
struct cn_metric *cn_metric_add(struct cn_metrics *r, enum cn_metric_kind kind, const char *name,
                                const char *help, const char *labels);

/* Bounds of a histogram, ascending; must outlive the registry. */
struct cn_metric *cn_metric_add_histogram(struct cn_metrics *r, const char *name, const char *help,
                                          const char *labels, const double *bound, int n_bounds);

/* As many label values follow as the family has keys. */
void cn_metric_inc(struct cn_metric *m, double by, ...);
void cn_metric_set(struct cn_metric *m, double value, ...);
void cn_metric_observe(struct cn_metric *m, double value, ...);
double cn_metric_get(const struct cn_metric *m, ...); /* 0 when the series does not exist */

int cn_metrics_render(const struct cn_metrics *r, struct cn_buf *out, struct cn_err *err);

#endif
