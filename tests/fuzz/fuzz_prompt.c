/* Text as a prompt in the grammar of AUTOMATIC1111's web UI, with the standard vocabulary. */
#include "base/base.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/prompt.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 7, CHUNKS = 3, PARTS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct cn_tokenizer *tokenizer(void)
{
    static struct cn_tokenizer *t;

    if (t == NULL) {
        struct cn_err err = CN_ERR_INIT;

        setenv("CONTROLNETD_DATADIR", CN_FUZZ_DATA, 1);
        if (cn_tokenizer_builtin(&t, &err) < 0)
            abort();
    }
    return t;
}

static void check_chunks(const struct cn_prompt_pieces *p)
{
    struct cn_prompt_chunks c;

    if (cn_prompt_chunks(tokenizer(), NULL, p, CN_CLIP_LENGTH, CHUNKS, &c, NULL) < 0)
        return;
    CN_ASSERT(c.n >= 1 && c.n <= CHUNKS);
    for (int i = 0; i < c.n * CN_CLIP_LENGTH; i++)
        CN_ASSERT(c.id[i] >= 0 && c.id[i] < cn_tokenizer_size(tokenizer()));
    cn_prompt_chunks_release(&c);
}

/* Pieces lie one after the other, and are no longer than the text. */
static void check_emphasis(const char *text)
{
    struct cn_prompt_pieces p;
    size_t at = 0;

    if (cn_prompt_emphasis(text, &p, NULL) < 0)
        return;
    CN_ASSERT(p.n >= 1);
    for (size_t i = 0; i < p.n; i++) {
        CN_ASSERT(p.piece[i].from == at);
        at += p.piece[i].len;
    }
    CN_ASSERT(at <= strlen(text) && p.text[at] == '\0' && cn_utf8_check(p.text, at) == at);
    check_chunks(&p);
    cn_prompt_pieces_release(&p);
}

static void check_part(const char *text, size_t len)
{
    struct cn_prompt_schedule *s;
    struct cn_buf b;

    if (cn_prompt_schedule_new(text, len, STEPS, 0, &s, NULL) < 0)
        return;
    cn_buf_init(&b, len + 1);
    for (int step = 1; step <= STEPS; step = cn_prompt_schedule_until(s, step) + 1) {
        cn_buf_clear(&b);
        CN_ASSERT(cn_prompt_schedule_text(s, step, &b, NULL) == CN_OK);
        CN_ASSERT(b.len <= len);
        check_emphasis(b.len > 0 ? (const char *)b.data : "");
    }
    cn_buf_release(&b);
    cn_prompt_schedule_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = cn_xmalloc(len + 1);
    struct cn_prompt_part part[PARTS];
    int n;

    memcpy(text, data, len);
    text[len] = '\0';
    check_emphasis(text);
    if (cn_prompt_parts(text, part, PARTS, &n, NULL) == CN_OK) {
        CN_ASSERT(n >= 1 && n <= PARTS);
        for (int i = 0; i < n; i++) {
            CN_ASSERT(part[i].from + part[i].len <= strlen(text));
            check_part(text + part[i].from, part[i].len);
        }
    }
    free(text);
    return 0;
}
