/* Signs and checks tickets, and keeps the secret that does it. */
#include "base/base.h"
#include "http/auth/ticket.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/hmac.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the secret ---- */

static void draw(struct cn_ticket_secret *ret)
{
    while (getrandom(ret->bytes, sizeof(ret->bytes), 0) != (ssize_t)sizeof(ret->bytes))
        ;
}

static int read_secret(struct cn_ticket_secret *ret, const char *path, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, sizeof(ret->bytes));
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK && b.len != sizeof(ret->bytes))
        rc = cn_fail(err, CN_EFORMAT, "\"%s\" has not %d bytes", path, CN_TICKET_SECRET);
    if (rc == CN_OK)
        memcpy(ret->bytes, b.data, sizeof(ret->bytes));
    if (b.data != NULL)
        explicit_bzero(b.data, b.len);
    cn_buf_release(&b);
    return rc;
}

/* The file appears whole, and never in the place of another: link() does not replace. */
static int write_secret(const struct cn_ticket_secret *s, const char *path, struct cn_err *err)
{
    char *tmp = cn_xprintf("%s.%ld.tmp", path, (long)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = CN_OK;

    if (fd < 0 || write(fd, s->bytes, sizeof(s->bytes)) != (ssize_t)sizeof(s->bytes) ||
        fsync(fd) < 0 || (link(tmp, path) < 0 && errno != EEXIST))
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlink(tmp);
    }
    free(tmp);
    return rc;
}

int cn_ticket_secret_load(struct cn_ticket_secret *ret, const char *path, struct cn_err *err)
{
    struct stat st;
    int rc;

    draw(ret);
    if (path == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no state folder");
    if (stat(path, &st) < 0 && errno == ENOENT && (rc = write_secret(ret, path, err)) < 0)
        return rc;
    return read_secret(ret, path, err);
}

/* ---- tickets ---- */

/* Every part ends with a NUL: no two sets of parts give the same bytes. */
static void sign(const struct cn_ticket_secret *s, const struct cn_ticket *t,
                 unsigned char mac[CN_SHA256_BYTES])
{
    char head[64];
    struct cn_hmac h;
    int n = snprintf(head, sizeof(head), "controlnetd ticket %c %lld", (char)t->purpose,
                     (long long)t->expires_s);

    cn_hmac_init(&h, s->bytes, sizeof(s->bytes));
    cn_hmac_add(&h, head, (size_t)n + 1);
    cn_hmac_add(&h, t->key, strlen(t->key) + 1);
    cn_hmac_add(&h, t->tenant, strlen(t->tenant) + 1);
    cn_hmac_add(&h, t->job, strlen(t->job) + 1);
    cn_hmac_end(&h, mac);
}

void cn_ticket_issue(const struct cn_ticket_secret *s, const struct cn_ticket *t,
                     char text[CN_TICKET_TEXT])
{
    char hex[2 * CN_SHA256_BYTES + 1];
    unsigned char mac[CN_SHA256_BYTES];

    sign(s, t, mac);
    cn_hex_encode(mac, sizeof(mac), hex);
    snprintf(text, CN_TICKET_TEXT, "%c~%lld~%s~%s", (char)t->purpose, (long long)t->expires_s,
             t->key, hex);
}

/* The bytes that a key's label is made of. */
static const char label_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";

bool cn_ticket_read(const char *text, struct cn_ticket *ret)
{
    unsigned char digest[CN_SHA256_BYTES];
    char number[19] = "";
    const char *key, *mac;

    if ((text[0] != 'e' && text[0] != 'r') || text[1] != '~')
        return false;
    key = strchr(text + 2, '~');
    mac = key == NULL ? NULL : strchr(key + 1, '~');
    if (mac == NULL || (size_t)(key - text - 2) >= sizeof(number) ||
        (size_t)(mac - key - 1) >= sizeof(ret->key) ||
        strspn(key + 1, label_bytes) != (size_t)(mac - key - 1) ||
        !cn_hex_decode(mac + 1, digest, sizeof(digest)))
        return false;
    memcpy(number, text + 2, (size_t)(key - text - 2));
    ret->purpose = text[0] == 'e' ? CN_TICKET_EVENTS : CN_TICKET_RESULTS;
    ret->expires_s = cn_decimal(number);
    memcpy(ret->key, key + 1, (size_t)(mac - key - 1));
    ret->key[mac - key - 1] = '\0';
    return ret->expires_s >= 0;
}

bool cn_ticket_is_valid(const struct cn_ticket_secret *s, const char *text,
                        const struct cn_ticket *t, int64_t wall_s)
{
    unsigned char ours[CN_SHA256_BYTES], theirs[CN_SHA256_BYTES];
    const char *mac = strrchr(text, '~');

    if (mac == NULL || !cn_hex_decode(mac + 1, theirs, sizeof(theirs)))
        return false;
    sign(s, t, ours);
    return cn_hmac_equal(ours, theirs) && wall_s < t->expires_s;
}
