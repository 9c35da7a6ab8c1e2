/* The native dialect: a JSON request, with or without multipart parts beside it, to a job
 * description. Any thread.
 *
 *     struct cn_api_input in = {.json = body, .json_len = len, .limits = &limits, .max_image = max,
 *                               .max_total = total};
 *     if (cn_api_read_images(&in, &spec, &err) < 0) ...   -- err.where = "/controls/0/image" or ""
 *
 * The caller holds the spec afterwards. A member that is null counts as left out. Unknown members
 * are errors. Numbers with an integral value ("20.0") are integers.
 */
#ifndef CN_API_REQUEST_H
#define CN_API_REQUEST_H

#include "base/base.h"
#include "base/buf.h"
#include "base/spec.h"
#include "base/warnings.h"

/* An image part of a multipart request; the JSON names it "part:NAME". Borrowed. */
struct cn_api_part {
    const char *name;
    const unsigned char *data;
    size_t len;
    bool used;
};

/* Where the end of a job is told, and what is said with it. */
struct cn_api_webhook {
    char *url; /* NULL: there is none */
    char *context;
};

enum { CN_API_CONTEXT_MAX = 1024 /* bytes */ };

/* What a request says besides its job: how it is to be answered, and who is told. */
struct cn_api_beside {
    struct cn_api_webhook webhook;
    struct cn_warnings warnings; /* of members that nothing is done with */
    char *echo;     /* the request's members as JSON, without images; NULL: not asked */
    char task[64];  /* the client's own name of the job; "": none */
    bool no_images; /* the answer is to be without */
    bool has_format, has_rng, has_quality; /* the request chose them itself */
    bool as_base64, as_url;                /* how pictures are answered, where that is a choice */
    int partial_images;                    /* previews of a stream; -1: no stream */
    char link_server[300];                 /* as_url: "http://server" of the links, */
    char link_ticket[256];                 /* and what opens them */
};

void cn_api_beside_release(struct cn_api_beside *b);

struct cn_api_input {
    const char *json;
    size_t json_len;
    struct cn_api_part *part; /* n_parts of them; used is set here */
    int n_parts;
    const struct cn_limits *limits;
    size_t max_image; /* bytes of one image file */
    size_t max_total; /* bytes of all of them: a part that is named twice counts twice */
    /* Appends the picture that was uploaded under an id; NULL: there are none. Names no path. */
    int (*fetch)(void *arg, const char *id, struct cn_buf *ret, struct cn_err *err);
    void *arg;
    struct cn_api_beside *beside; /* zeroed; empty after an error. NULL: for cn_api_read_images */
};

/* err->where: a JSON pointer, or "" when the request as a whole is at fault. */
int cn_api_read_images(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* Of POST /v1/annotate. */
int cn_api_read_annotation(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* The same of a job, which may have a webhook. */
int cn_api_read_jobs(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* ---- AUTOMATIC1111's web UI: POST /sdapi/v1/txt2img and img2img ---- */

int cn_api_read_txt2img(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);
int cn_api_read_img2img(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* POST /controlnet/detect */
int cn_api_read_detect(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* Settings alone, into a description (model, clip_skip, format, rng). */
int cn_api_read_overrides(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

/* ---- OpenAI: POST /v1/images/generations and edits ---- */

/* Of a form the parts are the members, and there is no JSON. */
int cn_api_read_generation(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);
int cn_api_read_edit(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

#endif
