/* Edits the file of API keys. A change is a new file that takes the old one's place under a lock: a
 * daemon that reads meanwhile sees the one or the other, and two editors do not lose each other's
 * lines. Lines that are not concerned stay byte by byte. */
#include "base/base.h"
#include "front/keys_cli.h"
#include "front/args.h"
#include "conf/conf.h"
#include "conf/keyring.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ID_CHARS = 8,      /* 40 bits: people type it */
    SECRET_CHARS = 40, /* 200 bits */
    KEY_TEXT = 4 + ID_CHARS + 1 + SECRET_CHARS + 1
};

static const char usage[] =
    "Usage: controlnetd keys add [OPTION]... NAME\n"
    "       controlnetd keys list [OPTION]...\n"
    "       controlnetd keys revoke [OPTION]... ID|NAME\n"
    "Edit the API keys of controlnetd, which a running daemon notices by itself.\n"
    "\n"
    "add writes the new key to the standard output, once: the file keeps its digest.\n"
    "\n"
    "Which file:\n"
    "  -c, --config FILE        the daemon's configuration, which may name auth.keys_file\n"
    "      --set SECTION.KEY=VALUE\n"
    "                           any key of the configuration; may be given again\n"
    "      --file FILE          this file of keys, whatever the configuration says\n"
    "What a new key may do:\n"
    "      --scopes LIST        submit, read, metrics, admin, by commas (submit,read)\n"
    "      --expires TIME       2027-01-31, 2027-01-31T12:00:00Z, or 30d, 12h, 90m\n"
    "      --models LIST        models that its jobs may use, by commas (any)\n"
    "      --requests-per-minute N\n"
    "      --tenant NAME        whose jobs these are (NAME)\n"
    "      --weight N, --max-queued N, --max-running N, --max-priority N\n"
    "                           limits of the tenant, see controlnetd.conf(5)\n"
    "  -h, --help               this text\n";

enum {
    OPT_SET = 256,
    OPT_FILE,
    OPT_EXPIRES,
    OPT_OF_KEY /* and above: written to the file as they are */
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, OPT_SET},
    {"file", required_argument, NULL, OPT_FILE},
    {"expires", required_argument, NULL, OPT_EXPIRES},
    {"help", no_argument, NULL, 'h'},
    {"scopes", required_argument, NULL, OPT_OF_KEY},
    {"models", required_argument, NULL, OPT_OF_KEY},
    {"requests-per-minute", required_argument, NULL, OPT_OF_KEY},
    {"tenant", required_argument, NULL, OPT_OF_KEY},
    {"weight", required_argument, NULL, OPT_OF_KEY},
    {"max-queued", required_argument, NULL, OPT_OF_KEY},
    {"max-running", required_argument, NULL, OPT_OF_KEY},
    {"max-priority", required_argument, NULL, OPT_OF_KEY},
    {NULL, 0, NULL, 0},
};

struct command {
    const char *config, *file;
    struct cn_conf conf;
    struct cn_buf line; /* " option=value" of a new key */
    bool has_scopes;
    char *path;
    int lock;            /* descriptor; -1: none */
    struct cn_buf text;  /* the file as it is */
    struct cn_keys keys; /* in it */
};

/* ---- options ---- */

/* "30d", "12h" or "90m" from now, or a point of time; as the file has it. False: neither. */
static bool read_expiry(const char *text, char *ret, size_t size)
{
    size_t n = strspn(text, "0123456789");
    int64_t now = cn_wall_us() / 1000000, end = cn_key_time(text);
    char number[20] = "";
    time_t t;
    struct tm tm;

    if (n > 0 && n < 10 && text[n] != '\0' && text[n + 1] == '\0') {
        int64_t unit = text[n] == 'd' ? 86400 : text[n] == 'h' ? 3600 : text[n] == 'm' ? 60 : 0;

        memcpy(number, text, n);
        end = unit == 0 ? -1 : now + cn_decimal(number) * unit;
    }
    if (end <= now)
        return false;
    t = (time_t)end;
    return gmtime_r(&t, &tm) != NULL && strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0;
}

/* Blanks would end the option in the file. */
static int add_option(struct command *c, const char *name, const char *value, struct cn_err *err)
{
    char key[32];
    size_t n = 0;

    for (; name[n] != '\0' && n + 1 < sizeof(key); n++)
        key[n] = name[n] == '-' ? '_' : name[n];
    key[n] = '\0';
    if (value[0] == '\0' || strpbrk(value, " \t\r\n") != NULL)
        return cn_fail(err, CN_EINVAL, "--%s: \"%.80s\" is not acceptable", name, value);
    c->has_scopes = c->has_scopes || strcmp(key, "scopes") == 0;
    return cn_buf_printf(&c->line, err, " %s=%s", key, value);
}

/* Ends the program for --help and mistakes. */
static int read_options(struct command *c, int argc, char **argv, struct cn_err *err)
{
    char **set = cn_xcalloc((size_t)argc, sizeof(*set)), when[40];
    int opt, k = 0, n_set = 0, rc = CN_OK;

    optind = 1;
    while (rc == CN_OK && (opt = getopt_long(argc, argv, "c:h", options, &k)) != -1) {
        if (opt == 'c')
            c->config = optarg;
        else if (opt == OPT_FILE)
            c->file = optarg;
        else if (opt == OPT_SET)
            set[n_set++] = optarg;
        else if (opt == OPT_EXPIRES && !read_expiry(optarg, when, sizeof(when)))
            rc = cn_fail(err, CN_EINVAL, "--expires: \"%.80s\" is no time to come", optarg);
        else if (opt == OPT_EXPIRES)
            rc = add_option(c, "expires", when, err);
        else if (opt == OPT_OF_KEY)
            rc = add_option(c, options[k].name, optarg, err);
        else if (opt == 'h')
            exit(fputs(usage, stdout) < 0);
        else
            exit(2);
    }
    if (rc == CN_OK)
        rc = cn_args_read_files(c->config, &c->conf, err);
    for (int i = 0; rc == CN_OK && i < n_set; i++)
        rc = cn_conf_set(&c->conf, set[i], err);
    free(set);
    return rc;
}

/* ---- the file ---- */

static int open_file(struct command *c, struct cn_err *err)
{
    const char *dir = cn_conf_state_dir(&c->conf);
    struct stat st;
    int rc;

    c->path = cn_keyring_path(c->file != NULL ? c->file : c->conf.keys_file, dir);
    if (stat(c->path, &st) < 0 && errno == ENOENT)
        return CN_OK;
    rc = cn_file_read(c->path, &c->text, err);
    if (rc == CN_OK && c->text.len > 0)
        rc = cn_keys_parse(&c->keys, c->path, (const char *)c->text.data, c->text.len, err);
    return rc;
}

/* Others wait until this program has ended. */
static int lock_file(struct command *c, struct cn_err *err)
{
    char *name;

    if (c->file == NULL && c->conf.keys_file[0] == '\0')
        cn_make_dirs(cn_conf_state_dir(&c->conf), 0700);
    name = cn_xprintf("%s.lock", c->path);
    c->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock < 0 || flock(c->lock, LOCK_EX) < 0)
        cn_fail(err, CN_EIO, "cannot lock \"%s\": %s", name, strerror(errno));
    free(name);
    return err->code;
}

/* The new file gets the owner of the old one, or of the folder: root edits for a daemon that is not
 * root. */
static int give_away(const struct command *c, int fd)
{
    char *dir = cn_xstrdup(c->path);
    struct stat st;
    int rc = 0;

    *(strrchr(dir, '/') == NULL ? dir : strrchr(dir, '/') + 1) = '\0';
    if (geteuid() == 0 && (stat(c->path, &st) == 0 || stat(dir[0] == '\0' ? "." : dir, &st) == 0)) {
        rc = fchown(fd, st.st_uid, st.st_gid);
        if (rc == 0 && c->lock >= 0)
            rc = fchown(c->lock, st.st_uid, st.st_gid);
    }
    free(dir);
    return rc;
}

static int sync_folder(const char *path)
{
    char *dir = cn_xstrdup(path);
    int fd, rc;

    *(strrchr(dir, '/') == NULL ? dir : strrchr(dir, '/') + 1) = '\0';
    fd = open(dir[0] == '\0' ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    free(dir);
    return rc;
}

static int replace_file(const struct command *c, const struct cn_buf *text, struct cn_err *err)
{
    char *tmp = cn_xprintf("%s.%ld.tmp", c->path, (long)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = CN_OK;

    if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len || give_away(c, fd) < 0 ||
        fsync(fd) < 0 || rename(tmp, c->path) < 0 || sync_folder(c->path) < 0)
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", c->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && rc < 0)
        unlink(tmp);
    free(tmp);
    return rc;
}

/* Only what the daemon can read is written. */
static int change_file(const struct command *c, const struct cn_buf *text, struct cn_err *err)
{
    struct cn_keys keys;
    int rc = cn_buf_whole(text, err);

    if (rc == CN_OK)
        rc = cn_keys_parse(&keys, c->path, (const char *)text->data, text->len, err);
    if (rc < 0)
        return rc;
    cn_keys_release(&keys);
    return replace_file(c, text, err);
}

/* The header, and the old text without line number `without` (0: all of it). */
static void begin_text(const struct command *c, int without, struct cn_buf *ret)
{
    const char *p = c->text.data == NULL ? "" : (const char *)c->text.data, *end = p + c->text.len;

    cn_buf_init(ret, CN_KEY_FILE);
    if (c->text.len < strlen(CN_KEYS_HEADER) ||
        memcmp(p, CN_KEYS_HEADER, strlen(CN_KEYS_HEADER)) != 0)
        cn_buf_adds(ret, CN_KEYS_HEADER "\n", NULL);
    for (int line = 1; p < end; line++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n = eol == NULL ? (size_t)(end - p) : (size_t)(eol - p);

        if (line != without) {
            cn_buf_add(ret, p, n, NULL);
            cn_buf_adds(ret, "\n", NULL);
        }
        p += n + (eol != NULL);
    }
}

/* ---- the commands ---- */

/* Digits and letters without those that look alike. */
static void draw(char *text, size_t n)
{
    static const char digit[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char raw[SECRET_CHARS];

    while (getrandom(raw, n, 0) != (ssize_t)n)
        ;
    for (size_t i = 0; i < n; i++)
        text[i] = digit[raw[i] & 31];
    text[n] = '\0';
}

static void say_added(const struct command *c, const char *name, const char *id)
{
    fprintf(stderr,
            "controlnetd: the key \"%s\" of \"%s\" was added to %s; it is not shown again\n", id,
            name, c->path);
    if (c->text.len == 0)
        fputs("controlnetd: it is the first one: from now on requests need a key\n", stderr);
}

static int write_key(struct command *c, const char *name, struct cn_err *err)
{
    char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], key[KEY_TEXT], hex[65], now[40];
    unsigned char digest[CN_SHA256_BYTES];
    time_t t = (time_t)(cn_wall_us() / 1000000);
    struct cn_buf text;
    struct tm tm;
    int rc;

    draw(id, ID_CHARS);
    draw(secret, SECRET_CHARS);
    snprintf(key, sizeof(key), "cnk_%s_%s", id, secret);
    cn_sha256(key, strlen(key), digest);
    cn_hex_encode(digest, sizeof(digest), hex);
    gmtime_r(&t, &tm);
    strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
    begin_text(c, 0, &text);
    rc = cn_buf_printf(&text, err, "%s:sha256=%s id=%s%s%s created=%s\n", name, hex, id,
                       c->has_scopes ? "" : " scopes=submit,read",
                       c->line.data == NULL ? "" : (const char *)c->line.data, now);
    if (rc == CN_OK)
        rc = change_file(c, &text, err);
    if (rc == CN_OK && (puts(key) < 0 || fflush(stdout) != 0))
        rc = cn_fail(err, CN_EIO, "cannot write the key to the standard output");
    if (rc == CN_OK)
        say_added(c, name, id);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(secret, sizeof(secret));
    cn_buf_release(&text);
    return rc;
}

static int add_key(struct command *c, const char *name, struct cn_err *err)
{
    if (!cn_key_name_is_good(name))
        return cn_fail(err, CN_EINVAL,
                       "\"%.80s\" cannot be the name of a key: 1 to %d letters, digits and . _ @ - "
                       "are accepted",
                       name, CN_KEY_NAME - 1);
    return write_key(c, name, err);
}

static void print_time(int64_t s)
{
    time_t t = (time_t)s;
    char text[40] = "-";
    struct tm tm;

    if (s != 0 && gmtime_r(&t, &tm) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf(" %-20s", text);
}

static int list_keys(struct command *c, struct cn_err *err)
{
    char scopes[40];

    printf("%-10s %-16s %-16s %-20s %-20s %-20s %s\n", "ID", "NAME", "TENANT", "SCOPES", "CREATED",
           "EXPIRES", "LIMITS");
    for (size_t i = 0; i < c->keys.n; i++) {
        const struct cn_key *k = &c->keys.key[i];

        cn_scopes_write(k->scopes, scopes, sizeof(scopes));
        printf("%-10s %-16s %-16s %-20s", k->id[0] == '\0' ? "-" : k->id, k->name, k->tenant,
               scopes);
        print_time(k->created_s);
        print_time(k->expires_s);
        if (k->requests_per_minute != CN_KEY_UNSET)
            printf(" %d/min", k->requests_per_minute);
        if (k->models != NULL)
            printf(" models=%s", k->models);
        if (cn_key_is_expired(k, cn_wall_us() / 1000000))
            printf(" (expired)");
        puts(k->is_plain ? " (the key itself stands in the file)" : "");
    }
    return fflush(stdout) == 0 ? CN_OK : cn_fail(err, CN_EIO, "cannot write the list");
}

/* By id, or by a name that only one key has. */
static int find(const struct command *c, const char *what, const struct cn_key **ret,
                struct cn_err *err)
{
    int n = 0;

    for (size_t i = 0; i < c->keys.n; i++) {
        const struct cn_key *k = &c->keys.key[i];

        if (strcmp(k->id, what) == 0) {
            *ret = k;
            return CN_OK;
        }
        if (strcmp(k->name, what) == 0) {
            *ret = k;
            n++;
        }
    }
    if (n == 0)
        return cn_fail(err, CN_ENOTFOUND, "%s: there is no key \"%.60s\"", c->path, what);
    return n == 1 ? CN_OK
                  : cn_fail(err, CN_EINVAL, "%s: %d keys are called \"%.60s\": give the id of one",
                            c->path, n, what);
}

static int revoke_key(struct command *c, const char *what, struct cn_err *err)
{
    const struct cn_key *key = NULL;
    struct cn_buf text;
    int rc = find(c, what, &key, err);

    if (rc < 0)
        return rc;
    begin_text(c, key->line, &text);
    rc = change_file(c, &text, err);
    if (rc == CN_OK)
        fprintf(stderr, "controlnetd: the key \"%s\" of \"%s\" was revoked\n", cn_key_label(key),
                key->name);
    cn_buf_release(&text);
    return rc;
}

static int run(struct command *c, const char *what, const char *argument, struct cn_err *err)
{
    int rc;

    if (strcmp(what, "list") == 0)
        return (rc = open_file(c, err)) == CN_OK ? list_keys(c, err) : rc;
    c->path =
        cn_keyring_path(c->file != NULL ? c->file : c->conf.keys_file, cn_conf_state_dir(&c->conf));
    rc = lock_file(c, err);
    free(c->path);
    c->path = NULL;
    if (rc == CN_OK)
        rc = open_file(c, err);
    if (rc < 0)
        return rc;
    return strcmp(what, "add") == 0 ? add_key(c, argument, err) : revoke_key(c, argument, err);
}

/* "add", "list" or "revoke" with as many arguments as it needs. */
static bool is_command(const char *what, int arguments)
{
    if (strcmp(what, "list") == 0)
        return arguments == 0;
    return (strcmp(what, "add") == 0 || strcmp(what, "revoke") == 0) && arguments == 1;
}

int cn_keys_cli(int argc, char **argv)
{
    struct command c = {.lock = -1};
    struct cn_err err = CN_ERR_INIT;
    int rc, status;

    cn_conf_init(&c.conf);
    cn_buf_init(&c.line, 4096);
    cn_buf_init(&c.text, CN_KEY_FILE);
    rc = read_options(&c, argc, argv, &err);
    if (rc == CN_OK && (optind == argc || !is_command(argv[optind], argc - optind - 1))) {
        fputs("Try \"controlnetd keys --help\".\n", stderr);
        status = 2;
    } else {
        if (rc == CN_OK)
            rc = run(&c, argv[optind], argv[optind + 1], &err);
        if (rc < 0)
            fprintf(stderr, "controlnetd: %s\n", err.msg);
        status = rc < 0 ? 1 : 0;
    }
    if (c.lock >= 0)
        close(c.lock);
    cn_keys_release(&c.keys);
    cn_buf_release(&c.text);
    cn_buf_release(&c.line);
    cn_conf_release(&c.conf);
    free(c.path);
    return status;
}
