/* Whether the tensors of an adapter's part have the shapes that its form gives them for a layer. By
 * numbers of elements and first dimensions: 1x1 convolutions and linear layers are the same. */
#include "base/base.h"
#include "runtime/adapter_math.h"

#include <string.h>

static bool has(const struct cn_adapter_part *p, enum cn_adapter_role role)
{
    return p->roles >> role & 1;
}

bool cn_adapter_changes_weight(const struct cn_adapter_part *p)
{
    return p->form != CN_ADAPTER_FULL || has(p, CN_ROLE_DIFF);
}

int64_t cn_adapter_low_rank(const struct cn_adapter_part *p)
{
    if (p->form != CN_ADAPTER_LORA || has(p, CN_ROLE_MAGNITUDE) || has(p, CN_ROLE_DIFF_BIAS) ||
        has(p, CN_ROLE_RESCALE))
        return 0;
    return has(p, CN_ROLE_MID) ? p->tensor[CN_ROLE_UP].dim[1] : p->rank;
}

bool cn_adapter_is_additive(const struct cn_adapter_part *p)
{
    return (p->form == CN_ADAPTER_LORA || p->form == CN_ADAPTER_LOHA ||
            p->form == CN_ADAPTER_LOKR || p->form == CN_ADAPTER_FULL) &&
           !has(p, CN_ROLE_MAGNITUDE) && !has(p, CN_ROLE_RESCALE);
}

bool cn_adapter_changes_bias(const struct cn_adapter_part *p)
{
    return has(p, CN_ROLE_DIFF_BIAS);
}

int64_t cn_adapter_inputs(const struct cn_adapter_part *p, const struct cn_layer *l)
{
    const struct cn_tensor_view *v = &p->tensor[CN_ROLE_DOWN];

    return has(p, CN_ROLE_DOWN) && !has(p, CN_ROLE_MID) && v->rank == 4 && v->dim[1] == 4 &&
                   l->in == 9
               ? 4
               : l->in;
}

/* PEFT's [out] or [1, out, 1, 1]; LyCORIS' [out, 1(, 1, 1)], and [1, in(, 1, 1)] of its columns. */
bool cn_adapter_magnitude_of_rows(const struct cn_adapter_part *p, const struct cn_layer *l)
{
    const struct cn_tensor_view *v = &p->tensor[CN_ROLE_MAGNITUDE];

    return strstr(v->name, "magnitude") != NULL || (v->rank > 0 && v->dim[0] == l->out);
}

/* A part that is held against a layer; the first error stays. */
struct check {
    const struct cn_adapter_part *p;
    const struct cn_layer *l;
    struct cn_err *err;
    int rc;
};

static int64_t dim(const struct check *c, enum cn_adapter_role role, int axis)
{
    const struct cn_tensor_view *v = &c->p->tensor[role];

    return has(c->p, role) && v->rank > axis ? v->dim[axis] : 0;
}

static int64_t elements(const struct check *c, enum cn_adapter_role role)
{
    return has(c->p, role) ? (int64_t)cn_view_elements(&c->p->tensor[role]) : 0;
}

/* The tensor has `first` rows of `rest` elements each. */
static void expect(struct check *c, enum cn_adapter_role role, int64_t first, int64_t rest)
{
    const struct cn_tensor_view *v = &c->p->tensor[role];
    char shape[96];

    if (c->rc < 0 || (first > 0 && dim(c, role, 0) == first && elements(c, role) / first == rest &&
                      elements(c, role) % first == 0))
        return;
    cn_view_shape(v, shape, sizeof(shape));
    c->rc = cn_fail(c->err, CN_EFORMAT,
                    "tensor \"%s\" in \"%s\" is %s, which does not fit a layer of %lld to %lld "
                    "with %lld taps",
                    v->name, v->file, shape, (long long)c->l->in, (long long)c->l->out,
                    (long long)c->l->taps);
}

static void check_lora(struct check *c)
{
    int64_t r = c->p->rank;

    if (has(c->p, CN_ROLE_MID)) {
        int64_t up = dim(c, CN_ROLE_UP, 1);

        expect(c, CN_ROLE_UP, c->l->out, up);
        expect(c, CN_ROLE_MID, up, r * c->l->taps);
        expect(c, CN_ROLE_DOWN, r, c->l->in);
        return;
    }
    expect(c, CN_ROLE_UP, c->l->out, r);
    expect(c, CN_ROLE_DOWN, r, cn_adapter_inputs(c->p, c->l) * c->l->taps);
}

static void check_loha(struct check *c)
{
    static const enum cn_adapter_role of[2][3] = {{CN_ROLE_W1_A, CN_ROLE_W1_B, CN_ROLE_T1},
                                                  {CN_ROLE_W2_A, CN_ROLE_W2_B, CN_ROLE_T2}};

    for (int i = 0; i < 2; i++) {
        int64_t r = dim(c, of[i][1], 0);

        if (has(c->p, of[i][2])) {
            expect(c, of[i][0], dim(c, of[i][2], 0), c->l->out);
            expect(c, of[i][2], dim(c, of[i][0], 0), r * c->l->taps);
            expect(c, of[i][1], r, c->l->in);
        } else {
            expect(c, of[i][0], c->l->out, r);
            expect(c, of[i][1], r, c->l->in * c->l->taps);
        }
    }
}

static void check_lokr(struct check *c)
{
    bool w1 = has(c->p, CN_ROLE_W1), w2 = has(c->p, CN_ROLE_W2), core = has(c->p, CN_ROLE_T2);
    enum cn_adapter_role first = w1 ? CN_ROLE_W1 : CN_ROLE_W1_A;
    int64_t r1 = dim(c, CN_ROLE_W1_B, 0), r2 = dim(c, CN_ROLE_W2_B, 0);
    int64_t a = dim(c, first, 0), b = a > 0 ? c->l->out / a : 0;
    int64_t columns = w1 ? dim(c, CN_ROLE_W1, 1) : dim(c, CN_ROLE_W1_B, 1);
    int64_t d = columns > 0 ? c->l->in / columns : 0;

    expect(c, first, b > 0 && a * b == c->l->out ? a : -1, w1 ? columns : r1);
    if (!w1)
        expect(c, CN_ROLE_W1_B, r1, d * columns == c->l->in ? columns : -1);
    if (w2) {
        expect(c, CN_ROLE_W2, b, d * columns == c->l->in ? d * c->l->taps : -1);
    } else if (core) {
        expect(c, CN_ROLE_T2, dim(c, CN_ROLE_W2_A, 0), r2 * c->l->taps);
        expect(c, CN_ROLE_W2_A, dim(c, CN_ROLE_T2, 0), b);
        expect(c, CN_ROLE_W2_B, r2, d * columns == c->l->in ? d : -1);
    } else {
        expect(c, CN_ROLE_W2_A, b, r2);
        expect(c, CN_ROLE_W2_B, r2, d * columns == c->l->in ? d * c->l->taps : -1);
    }
}

static void check_oft(struct check *c)
{
    enum cn_adapter_role role = has(c->p, CN_ROLE_BLOCKS) ? CN_ROLE_BLOCKS : CN_ROLE_DIAG;
    int at = c->p->form == CN_ADAPTER_BOFT; /* the stages stand before the blocks */
    int64_t n = dim(c, role, at), b = dim(c, role, at + 1), stages = at ? dim(c, role, 0) : 1;
    bool fits = b > 0 && n * b == c->l->out;

    /* Stage i exchanges rows at a distance of 2^i * b / 2. */
    if (at)
        fits = fits && b % 2 == 0 && stages < 32 && c->l->out % (b << (stages - 1)) == 0;
    expect(c, role, at ? stages : n, fits ? (at ? n * b * b : b * b) : -1);
    if (has(c->p, CN_ROLE_RESCALE))
        expect(c, CN_ROLE_RESCALE, c->l->out, 1);
}

/* Written in either order: [in, r] . [r, in], or under each other's names. */
static void check_glora(struct check *c)
{
    bool swapped = dim(c, CN_ROLE_B1, 0) != c->l->out;
    int64_t r = c->p->rank;

    expect(c, swapped ? CN_ROLE_A2 : CN_ROLE_A1, c->l->in, r);
    expect(c, swapped ? CN_ROLE_A1 : CN_ROLE_A2, r, c->l->in);
    expect(c, swapped ? CN_ROLE_B2 : CN_ROLE_B1, c->l->out, r);
    expect(c, swapped ? CN_ROLE_B1 : CN_ROLE_B2, r, c->l->in * c->l->taps);
}

static void check_form(struct check *c)
{
    const struct cn_layer *l = c->l;

    switch (c->p->form) {
    case CN_ADAPTER_LORA:
        check_lora(c);
        break;
    case CN_ADAPTER_LOHA:
        check_loha(c);
        break;
    case CN_ADAPTER_LOKR:
        check_lokr(c);
        break;
    case CN_ADAPTER_IA3:
        if (elements(c, CN_ROLE_SCALES) != (c->p->on_input ? l->in : l->out))
            expect(c, CN_ROLE_SCALES, -1, -1);
        break;
    case CN_ADAPTER_OFT:
    case CN_ADAPTER_BOFT:
        check_oft(c);
        break;
    case CN_ADAPTER_GLORA:
        check_glora(c);
        break;
    default:
        if (has(c->p, CN_ROLE_DIFF))
            expect(c, CN_ROLE_DIFF, l->out, l->in * l->taps);
        break;
    }
}

int cn_adapter_fits(const struct cn_adapter_part *p, const struct cn_layer *l, struct cn_err *err)
{
    struct check c = {.p = p, .l = l, .err = err};

    check_form(&c);
    if (has(p, CN_ROLE_MAGNITUDE) &&
        elements(&c, CN_ROLE_MAGNITUDE) !=
            (cn_adapter_magnitude_of_rows(p, l) ? l->out : l->in))
        expect(&c, CN_ROLE_MAGNITUDE, -1, -1);
    if (has(p, CN_ROLE_DIFF_BIAS))
        expect(&c, CN_ROLE_DIFF_BIAS, l->has_bias ? l->out : -1, 1);
    return c.rc;
}
