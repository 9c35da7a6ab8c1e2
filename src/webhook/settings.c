/* The settings of webhooks: the allow-list as rules, and the secret out of its file. */
#include "base/base.h"
#include "webhook/settings.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 4096 };

static int read_secret(const char *text, size_t len, struct cn_webhook_secret *ret,
                       struct cn_err *err)
{
    static const char mark[] = "whsec_";
    struct cn_err why = CN_ERR_INIT;
    unsigned char *bytes = NULL;
    size_t n = 0;

    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        len--;
    if (len < strlen(mark) || memcmp(text, mark, strlen(mark)) != 0 ||
        cn_base64_decode(text + strlen(mark), len - strlen(mark), FILE_MAX, &bytes, &n, &why) < 0)
        return cn_fail(err, CN_EINVAL, "expected one line, \"whsec_\" and base64");
    if (n < CN_WEBHOOK_SECRET_MIN || n > CN_WEBHOOK_SECRET_MAX) {
        cn_fail(err, CN_EINVAL, "the secret has %zu bytes: expected %d to %d", n,
                CN_WEBHOOK_SECRET_MIN, CN_WEBHOOK_SECRET_MAX);
    } else {
        memcpy(ret->bytes, bytes, n);
        ret->len = n;
    }
    explicit_bzero(bytes, n);
    free(bytes);
    return ret->len > 0 ? CN_OK : CN_EINVAL;
}

static int load_secret(const char *path, struct cn_webhook_secret *ret, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    if (path[0] == '\0')
        return cn_fail(err, CN_EINVAL, "webhook.secret_file: webhooks need a secret to be signed");
    cn_buf_init(&b, FILE_MAX);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK && (rc = read_secret((const char *)b.data, b.len, ret, err)) < 0)
        cn_err_prefix(err, "\"%.200s\"", path);
    if (rc < 0)
        cn_err_prefix(err, "webhook.secret_file");
    if (b.len > 0)
        explicit_bzero(b.data, b.len);
    cn_buf_release(&b);
    return rc;
}

int cn_webhook_settings_load(const struct cn_webhook_settings *s, struct cn_webhook_rules **ret,
                             struct cn_webhook_secret *ret_secret, struct cn_err *err)
{
    struct cn_webhook_secret secret = {.len = 0};
    struct cn_webhook_rules *rules;
    int rc;

    if ((rc = cn_webhook_rules_new("", s->networks, &rules, err)) < 0) {
        cn_err_prefix(err, "webhook.networks");
        return rc;
    }
    cn_webhook_rules_free(rules);
    if ((rc = cn_webhook_rules_new(s->allow, s->networks, &rules, err)) < 0) {
        cn_err_prefix(err, "webhook.allow");
        return rc;
    }
    if (cn_webhook_rules_allow_any(rules) && (rc = load_secret(s->secret_file, &secret, err)) < 0) {
        cn_webhook_rules_free(rules);
        return rc;
    }
    *ret = rules;
    *ret_secret = secret;
    cn_webhook_secret_clear(&secret);
    return CN_OK;
}

void cn_webhook_secret_clear(struct cn_webhook_secret *secret)
{
    explicit_bzero(secret, sizeof(*secret));
}
