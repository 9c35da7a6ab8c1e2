/* text: the tokenizer against known ids, small vocabularies of its own and bad input. */
#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct cn_tokenizer *clip;

static int open_clip(void **state)
{
    const char *src = getenv("srcdir");
    char *data = cn_xprintf("%s/data", src ? src : ".");
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    setenv("CONTROLNETD_DATADIR", data, 1);
    free(data);
    if (cn_tokenizer_builtin(&clip, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    return clip == NULL;
}

static int close_clip(void **state)
{
    (void)state;
    cn_tokenizer_close(clip);
    return 0;
}

static void ids_are(const struct cn_tokenizer *t, const char *text, const int32_t *want, int n_want)
{
    struct cn_err err = CN_ERR_INIT;
    int32_t ids[256];
    int n = 0;

    if (cn_tokenize(t, text, ids, CN_LEN(ids), &n, &err) < 0)
        fail_msg("\"%s\": %s", text, err.msg);
    if (n != n_want)
        fail_msg("\"%s\": %d ids instead of %d", text, n, n_want);
    for (int i = 0; i < n; i++)
        if (ids[i] != want[i])
            fail_msg("\"%s\": id %d is %d, not %d", text, i, ids[i], want[i]);
}

#define IDS(t, text, ...)                                                                          \
    do {                                                                                           \
        static const int32_t want[] = {__VA_ARGS__};                                               \
        ids_are(t, text, want, CN_LEN(want));                                                      \
    } while (0)

/* Ids of the original tokenizer (openai/CLIP), recomputed for reference/model-spec C.10. */
static void known_prompts_have_their_ids(void **state)
{
    (void)state;
    IDS(clip, "a photo of a cat", 320, 1125, 539, 320, 2368);
    IDS(clip, "a photo of an astronaut riding a horse on mars", 320, 1125, 539, 550, 18376, 6765,
        320, 4558, 525, 7496);
    IDS(clip, "best quality, extremely detailed", 949, 3027, 267, 6519, 12609);
    IDS(clip, "pale golden rod circle with old lace background", 12518, 3878, 8291, 7117, 593, 896,
        5421, 5994);
    IDS(clip, "It's 2024!!! don't", 585, 568, 273, 271, 273, 275, 995, 847, 713);
    IDS(clip, "caf\u00e9 na\u00efve", 15304, 1097, 35689, 563);
    IDS(clip, "1girl, (masterpiece:1.2)", 272, 1611, 267, 263, 12066, 281, 272, 269, 273, 264);
    IDS(clip, "\uc548\ub155", 16071, 230, 167, 227, 499);
    IDS(clip, "\U0001f3a8 art", 13461, 794);
    IDS(clip, "lowres, bad anatomy, bad hands", 1049, 934, 267, 2103, 15376, 267, 2103, 3500);
    IDS(clip, "hello   world\n\tfoo", 3306, 1002, 23435);
    IDS(clip, "!", 256);
    IDS(clip, "<|endoftext|>", 49407);
    ids_are(clip, "", NULL, 0);
    ids_are(clip, " \t\r\n\u00a0\u3000", NULL, 0);
}

/* 998 prompts of all kinds and what transformers makes of them; see tools/goldens. */
static void golden_prompts_have_their_ids(void **state)
{
    const char *src = getenv("srcdir");
    char *path = cn_xprintf("%s/tests/data/golden/tokenizer.json", src ? src : ".");
    json_t *root = json_load_file(path, 0, NULL), *row, *id;
    size_t i, k;
    int n;

    (void)state;
    free(path);
    if (root == NULL)
        skip();
    json_array_foreach(json_object_get(root, "cases"), i, row)
    {
        const char *text = json_string_value(json_object_get(row, "text"));
        json_t *want = json_object_get(row, "ids");
        int32_t ids[CN_CLIP_LENGTH];

        n = (int)json_array_size(want); /* with begin and end, cut, not padded */
        assert_int_equal(cn_tokenizer_encode(clip, NULL, text, ids, CN_CLIP_LENGTH, NULL, NULL),
                         CN_OK);
        json_array_foreach(want, k, id) if (ids[k] != json_integer_value(id))
            fail_msg("\"%s\": id %zu is %d, not %d", text, k, ids[k], (int)json_integer_value(id));
        for (int j = n; j < CN_CLIP_LENGTH; j++)
            assert_int_equal(ids[j], 49407);
    }
    assert_true(i > 900);
    json_decref(root);
}

/* 360 prompts and what the library `tokenizers` makes of them by a tokenizer.json; 60 are of
 * characters by which versions of Unicode differ. See tools/goldens. */
static void a_tokenizer_json_is_read_by_its_rules(void **state)
{
    const char *src = getenv("srcdir");
    char *path = cn_xprintf("%s/tests/data/golden/tokenizer-json.json", src ? src : ".");
    char *dir = cn_xprintf("%s/tests/data/tokenizer-json", src ? src : ".");
    json_t *root = json_load_file(path, 0, NULL), *row, *id;
    struct cn_err err = CN_ERR_INIT;
    struct cn_tokenizer *t;
    int32_t ids[512];
    size_t i, k;

    (void)state;
    assert_non_null(root);
    if (cn_tokenizer_open(dir, &t, &err) < 0)
        fail_msg("%s", err.msg);
    json_array_foreach(root, i, row)
    {
        const char *text = json_string_value(json_object_get(row, "text"));
        json_t *want = json_object_get(row, "ids"); /* with begin and end */
        int n = (int)json_array_size(want);

        assert_true(n < (int)CN_LEN(ids));
        assert_int_equal(cn_tokenizer_encode(t, NULL, text, ids, n, NULL, NULL), CN_OK);
        json_array_foreach(want, k, id) if (ids[k] != json_integer_value(id))
            fail_msg("\"%s\": id %zu is %d, not %d", text, k, ids[k], (int)json_integer_value(id));
        assert_int_equal(cn_tokenize(t, text, ids, CN_LEN(ids), &n, NULL), CN_OK);
        assert_int_equal(n + 2, json_array_size(want));
    }
    assert_int_equal(i, 360);
    assert_int_equal(cn_tokenizer_pad(t), cn_tokenizer_eos(t));
    cn_tokenizer_close(t);
    json_decref(root);
    free(path);
    free(dir);
}

/* One text in several spellings. */
static void spellings_that_mean_the_same(void **state)
{
    static const char *const same[][2] = {
        {"caf\u00e9", "cafe\u0301"}, /* composed and not */
        {"\uac00", "\u1100\u1161"},  /* Hangul */
        {"A PHOTO", "a photo"},
        {"\u039f\u0394\u039f\u03a3 x", "\u03bf\u03b4\u03bf\u03c2 X"}, /* final sigma */
        {"\u0130", "i\u0307"},
        {"\u732b\u732b", " \u732b  \u732b "}, /* ideographs stand alone */
        {"a\u200db", "ab"},                   /* formats vanish */
        {"a\x01"
         "b\xc2\x85"
         "c",
         "abc"},
        {"a\u2028b", "a b"},
        {"q\u0323\u0307", "q\u0307\u0323"}, /* marks in canonical order */
        {"DON'T", "don't"},
        {"\u212b", "\u00e5"}, /* angstrom sign */
    };
    int32_t a[64], b[64];
    int na, nb;

    (void)state;
    for (size_t i = 0; i < CN_LEN(same); i++) {
        assert_int_equal(cn_tokenize(clip, same[i][0], a, 64, &na, NULL), CN_OK);
        assert_int_equal(cn_tokenize(clip, same[i][1], b, 64, &nb, NULL), CN_OK);
        if (na != nb || memcmp(a, b, (size_t)na * sizeof(*a)) != 0)
            fail_msg("pair %zu: \"%s\" and \"%s\" differ", i, same[i][0], same[i][1]);
    }
}

static void encoding_cuts_and_pads(void **state)
{
    char text[512] = "";
    int32_t ids[CN_CLIP_LENGTH];
    struct cn_encoded cut = {true, NULL};

    (void)state;
    assert_int_equal(cn_tokenizer_size(clip), 49408);
    assert_int_equal(cn_tokenizer_encode(clip, NULL, "a cat", ids, CN_CLIP_LENGTH, &cut, NULL),
                     CN_OK);
    assert_false(cut.truncated);
    assert_int_equal(ids[0], 49406);
    assert_int_equal(ids[1], 320);
    assert_int_equal(ids[2], 2368);
    for (int i = 3; i < CN_CLIP_LENGTH; i++)
        assert_int_equal(ids[i], 49407);
    for (int i = 0; i < 75; i++)
        strcat(text, "x ");
    assert_int_equal(cn_tokenizer_encode(clip, NULL, text, ids, CN_CLIP_LENGTH, &cut, NULL), CN_OK);
    assert_false(cut.truncated);
    assert_int_equal(ids[76], 49407);
    strcat(text, "cat");
    assert_int_equal(cn_tokenizer_encode(clip, NULL, text, ids, CN_CLIP_LENGTH, &cut, NULL), CN_OK);
    assert_true(cut.truncated);
    assert_int_equal(ids[75], ids[1]);
    assert_int_equal(ids[76], 49407);
    assert_int_equal(cn_tokenizer_encode(clip, NULL, "cat", ids, 2, &cut, NULL), CN_OK);
    assert_true(cut.truncated && ids[0] == 49406 && ids[1] == 49407);
}

static void bad_text_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"ab\xff", "byte 2 is 0xff"},    {"\xc3", "byte 0 is 0xc3"},
        {"x\xc0\x80", "byte 1 is 0xc0"}, {"\xed\xa0\x80", "byte 0 is 0xed"},
        {"\xf4\x90\x80\x80", "byte 0"},  {"\xe2\x82", "byte 0"},
        {"abc\x80", "byte 3 is 0x80"},
    };
    int32_t ids[8];
    int n = -1;
    char *big;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        assert_int_equal(cn_tokenize(clip, bad[i].text, ids, 8, &n, &err), CN_EINVAL);
        if (strstr(err.msg, bad[i].says) == NULL)
            fail_msg("says \"%s\"", err.msg);
    }
    assert_int_equal(n, -1);
    big = cn_xcalloc(CN_MAX_TOKENIZE + 2, 1);
    memset(big, 'a', CN_MAX_TOKENIZE + 1);
    assert_int_equal(cn_tokenize(clip, big, ids, 8, &n, NULL), CN_ETOOBIG);
    /* One word of the largest size, and one that is all marks: nothing quadratic. */
    big[CN_MAX_TOKENIZE] = '\0';
    assert_int_equal(cn_tokenize(clip, big, ids, 8, &n, NULL), CN_OK);
    assert_true(n > 1000);
    for (size_t i = 0; i + 1 < CN_MAX_TOKENIZE; i += 2)
        memcpy(big + i, i % 4 ? "\xcc\xa3" : "\xcc\x87", 2);
    assert_int_equal(cn_tokenize(clip, big, ids, 8, &n, NULL), CN_OK);
    for (size_t i = 0; i < CN_MAX_TOKENIZE; i++)
        big[i] = (char)('a' + (i * i + i / 7) % 26);
    assert_int_equal(cn_tokenize(clip, big, ids, 8, &n, NULL), CN_OK);
    free(big);
}

/* ---- vocabularies in folders ---- */

static char folder[] = "tokenizer-XXXXXX";

static void put(const char *name, const char *text)
{
    char *path = cn_xprintf("%s/%s", folder, name);

    assert_int_equal(cn_file_write(path, text, strlen(text), NULL), CN_OK);
    free(path);
}

static void drop(const char *name)
{
    char *path = cn_xprintf("%s/%s", folder, name);

    unlink(path);
    free(path);
}

static struct cn_tokenizer *open_ok(void)
{
    struct cn_tokenizer *t = NULL;
    struct cn_err err = CN_ERR_INIT;

    if (cn_tokenizer_open(folder, &t, &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

static void open_fails(int code, const char *says)
{
    struct cn_tokenizer *t;
    struct cn_err err = CN_ERR_INIT;

    if (cn_tokenizer_open(folder, &t, &err) != code || strstr(err.msg, says) == NULL)
        fail_msg("says \"%s\"", err.msg);
}

static const char vocab[] =
    "{\"!\":0,\"c\":1,\"a\":2,\"t\":3,\"c</w>\":4,\"a</w>\":5,\"t</w>\":6,\"ca\":7,\"cat</w>\":8,"
    "\"!</w>\":9,\"<|startoftext|>\":10,\"<|endoftext|>\":11}";

static void small_vocabularies_work(void **state)
{
    struct cn_tokenizer *t;
    int32_t ids[6];

    (void)state;
    put("vocab.json", vocab);
    put("merges.txt", "#version: 0.2\nc a\nca t</w>\n");
    t = open_ok();
    IDS(t, "cat", 8);
    IDS(t, "cta", 1, 3, 5);
    IDS(t, "catcat", 7, 3, 8);
    IDS(t, "dog", 11, 11, 11); /* unknown symbols */
    IDS(t, "cat!", 8, 9);
    assert_int_equal(cn_tokenizer_size(t), 12);
    assert_int_equal(cn_tokenizer_id(t, "cat</w>"), 8);
    assert_int_equal(cn_tokenizer_id(t, "dog</w>"), -1);
    cn_tokenizer_close(t);

    /* SD 2: "!" pads, and so is a token of its own wherever it stands. */
    put("special_tokens_map.json",
        "{\"bos_token\":{\"content\":\"<|startoftext|>\",\"lstrip\":false},\"pad_token\":\"!\"}");
    t = open_ok();
    IDS(t, "cat!c", 8, 0, 4);
    assert_int_equal(cn_tokenizer_encode(t, NULL, "cat", ids, 6, NULL, NULL), CN_OK);
    assert_int_equal(ids[0], 10);
    assert_int_equal(ids[2], 11);
    assert_int_equal(ids[3], 0);
    assert_int_equal(ids[5], 0);
    cn_tokenizer_close(t);

    put("added_tokens.json", "{\"<toy>\":12,\"<toy>s\":13}");
    t = open_ok();
    IDS(t, "cat<toy>scat<toy>", 8, 13, 8, 12);
    assert_int_equal(cn_tokenizer_size(t), 14);
    cn_tokenizer_close(t);
    drop("added_tokens.json");

    put("tokenizer_config.json",
        "{\"model_max_length\":1000000000000000019884624838656,\"pad_token\":\"a</"
        "w>\",\"added_tokens_decoder\":{\"20\":{\"content\":\"<new>\"}}}");
    t = open_ok();
    IDS(t, "c<new>a", 4, 20, 5);
    assert_int_equal(cn_tokenizer_pad(t), 5);
    cn_tokenizer_close(t);
}

static void broken_vocabularies_are_refused(void **state)
{
    static const char *const json[] = {
        "", "[]", "{\"a\":-1}", "{\"a\":1.5}", "{\"a\":99999999999}", "{\"a\":\"1\"}", "{"};

    (void)state;
    drop("tokenizer_config.json");
    drop("special_tokens_map.json");
    for (size_t i = 0; i < CN_LEN(json); i++) {
        put("vocab.json", json[i]);
        open_fails(CN_EFORMAT, "vocab.json");
    }
    put("vocab.json", vocab);
    put("merges.txt", "#version: 0.2\nc a\nonlyone\n");
    open_fails(CN_EFORMAT, "line 3 is not two symbols: \"onlyone\"");
    put("merges.txt", "#version: 0.2\na b c\n");
    open_fails(CN_EFORMAT, "line 2");
    put("merges.txt", "");
    open_fails(CN_EFORMAT, "empty");
    put("merges.txt", "#version: 0.2\n");
    put("tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}");
    open_fails(CN_EFORMAT, "added_tokens_decoder");
    put("tokenizer_config.json", "nonsense");
    open_fails(CN_EFORMAT, "tokenizer_config.json");
    drop("tokenizer_config.json");
    drop("merges.txt");
    open_fails(CN_ENOTFOUND, "merges.txt");
    drop("vocab.json");
    open_fails(CN_ENOTFOUND, "vocab.json");
}

/* A tokenizer.json of these parts. */
static void put_rules(const char *normalizer, const char *split, const char *model,
                      const char *post)
{
    char *text = cn_xprintf(
        "{\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[%s,"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]},\"model\":{%s},"
        "\"post_processor\":%s,\"added_tokens\":[]}",
        normalizer, split, model, post);

    put("tokenizer.json", text);
    free(text);
}

#define SPLIT                                                                                      \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|" \
    "[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true}"
#define MODEL(more)                                                                                \
    "\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"c\":1,\"a\":2,\"t\":3,\"c</w>\":4,\"t</w>\":6,"  \
    "\"ca\":7,\"cat</w>\":8,\"<|startoftext|>\":10,\"<|endoftext|>\":11}," more
#define MERGES "\"merges\":[\"c a\",[\"ca\",\"t</w>\"]]"
#define POST                                                                                       \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|endoftext|>\"}},"  \
    "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"<|startoftext|>\"}}]}"

static void other_rules_are_refused(void **state)
{
    static const struct {
        const char *normalizer, *split, *model, *post, *says;
    } bad[] = {
        {"{\"type\":\"NFKC\"}", SPLIT, MODEL(MERGES), POST, "normalizer: NFKC"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"b\"}", SPLIT,
         MODEL(MERGES), POST, "normalizer: Replace"},
        {"null", "{\"type\":\"Whitespace\"}", MODEL(MERGES), POST, "pre_tokenizer: Whitespace"},
        {"null", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+\"},\"behavior\":\"Removed\"}",
         MODEL(MERGES), POST, "pre_tokenizer: x+"},
        {"null", SPLIT, MODEL("\"type\":\"Unigram\""), POST, "model: Unigram"},
        {"null", SPLIT, MODEL("\"byte_fallback\":true"), POST, "model: byte_fallback"},
        {"null", SPLIT, MODEL("\"merges\":[\"ca\"]"), POST, "merge 0 is not two symbols"},
        {"null", SPLIT, MODEL("\"merges\":1"), POST, "vocab or merges are missing"},
        {"null", SPLIT, MODEL(MERGES), "{\"type\":\"BertProcessing\"}", "post_processor: Bert"},
        {"null", SPLIT, MODEL(MERGES),
         "{\"type\":\"RobertaProcessing\",\"cls\":[\"x\",1],\"sep\":[\"y\",2]}",
         "the token at the beginning is not there"},
    };
    struct cn_tokenizer *t;

    (void)state;
    drop("tokenizer_config.json");
    drop("special_tokens_map.json");
    drop("merges.txt"); /* vocab.json without it is not enough */
    put_rules("{\"type\":\"Lowercase\"}", SPLIT, MODEL(MERGES), POST);
    t = open_ok();
    IDS(t, "Cat tc", 8, 3, 4);
    assert_int_equal(cn_tokenizer_bos(t), 11); /* as the file says */
    assert_int_equal(cn_tokenizer_eos(t), 10);
    cn_tokenizer_close(t);
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        put_rules(bad[i].normalizer, bad[i].split, bad[i].model, bad[i].post);
        open_fails(CN_EFORMAT, bad[i].says);
        open_fails(CN_EFORMAT, "tokenizer.json");
    }
    put("tokenizer.json", "{}");
    open_fails(CN_EFORMAT, "pre_tokenizer");
    put("tokenizer.json", "[1]");
    open_fails(CN_EFORMAT, "not a JSON object");
    drop("tokenizer.json");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    drop("vocab.json");
    drop("merges.txt");
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest standard[] = {
        cmocka_unit_test(known_prompts_have_their_ids),
        cmocka_unit_test(golden_prompts_have_their_ids),
        cmocka_unit_test(a_tokenizer_json_is_read_by_its_rules),
        cmocka_unit_test(spellings_that_mean_the_same),
        cmocka_unit_test(encoding_cuts_and_pads),
        cmocka_unit_test(bad_text_is_refused),
    };
    const struct CMUnitTest folders[] = {
        cmocka_unit_test(small_vocabularies_work),
        cmocka_unit_test(other_rules_are_refused),
        cmocka_unit_test(broken_vocabularies_are_refused),
    };

    return cmocka_run_group_tests(standard, open_clip, close_clip) +
           cmocka_run_group_tests(folders, make_folder, remove_folder);
}
