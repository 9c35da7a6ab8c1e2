/* What AUTOMATIC1111's web UI and its ControlNet extension call things: samplers, schedules and
 * preprocessors, from their names to ours and back. Any thread.
 *
 *     const struct cn_a1111_sampler *s = cn_a1111_sampler_find("DPM++ 2M Karras", &rest);
 */
#ifndef CN_API_A1111_NAMES_H
#define CN_API_A1111_NAMES_H

#include "base/base.h"
#include "base/spec.h"

struct cn_a1111_sampler {
    const char *name;     /* as frontends show it */
    const char *alias[3]; /* as programs spell it; NULL after the last */
    enum cn_sampler sampler;
    enum cn_schedule preset; /* what "Automatic" means with it */
    enum cn_spacing spacing; /* of the default schedule */
    const char *options;     /* JSON object of GET /sdapi/v1/samplers */
};

extern const struct cn_a1111_sampler cn_a1111_samplers[];
extern const int cn_a1111_n_samplers;

struct cn_a1111_schedule {
    const char *name, *label, *alias; /* alias may be NULL */
    enum cn_schedule schedule;        /* "automatic": CN_SCHEDULE_DEFAULT */
    double rho;                       /* -1: it has none */
    bool needs_model;
};

extern const struct cn_a1111_schedule cn_a1111_schedules[];
extern const int cn_a1111_n_schedules;

/* By its name, an alias or our own name of it, whatever the case. A schedule at the end of the name
 * ("DPM++ 2M Karras", as versions before 1.9 had it) goes to *ret_schedule, else NULL. NULL: there
 * is no such sampler. */
const struct cn_a1111_sampler *cn_a1111_sampler_find(const char *name,
                                                     const struct cn_a1111_schedule **ret_schedule);
const struct cn_a1111_schedule *cn_a1111_schedule_find(const char *name);

/* The first row that draws with it. */
const struct cn_a1111_sampler *cn_a1111_sampler_of(enum cn_sampler sampler);
/* NULL: it was "Automatic". */
const struct cn_a1111_schedule *cn_a1111_schedule_of(enum cn_schedule schedule,
                                                     const struct cn_a1111_sampler *s);

/* Of hires, by what frontends call it; "" is the web UI's default. -1: there is none. */
int cn_a1111_upscaler_find(const char *name);

struct cn_a1111_upscaler {
    const char *name;
    enum cn_upscaler upscaler;
};

extern const struct cn_a1111_upscaler cn_a1111_upscalers[];
extern const int cn_a1111_n_upscalers;

/* The number behind processor_res, threshold_a or threshold_b: which of our parameters it is, in
 * which range it counts, and what stands for it outside of that. */
struct cn_a1111_slider {
    const char *title; /* NULL: there is none */
    const char *param; /* NULL: read and not used */
    double min, max, preset, step;
    double unit; /* of the parameter, for one of the slider */
};

enum { CN_A1111_SLIDERS = 2 };

struct cn_a1111_module {
    const char *name;
    const char *alias[3];  /* labels of its lists; NULL after the last */
    const char *annotator; /* ours */
    const char *type;      /* of GET /controlnet/control_types, by commas */
    bool has_resolution;
    struct cn_a1111_slider slider[CN_A1111_SLIDERS]; /* threshold_a and threshold_b */
};

extern const struct cn_a1111_module cn_a1111_modules[];
extern const int cn_a1111_n_modules;

/* By name, label, or our own name of the annotator, whatever the case; NULL: there is none. */
const struct cn_a1111_module *cn_a1111_module_find(const char *name);

/* The value of a slider as the extension takes it: outside of its range its preset counts. */
double cn_a1111_slider_value(const struct cn_a1111_slider *s, double asked);

/* The same of processor_res: 64 to 2048, else 512. */
int cn_a1111_resolution(double asked);

#endif
