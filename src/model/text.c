/* Emits the graph of CLIP's text encoder: causal transformer layers, final norm; the projection of
 * the end token. */
#include "base/base.h"
#include "model/text.h"
#include "model/nn.h"

#include <math.h>

static cn_val self_attention(struct nn *nn, cn_val x, const struct cn_text_config *c)
{
    int d = c->hidden_size;
    cn_val q, k, v;

    nn_enter(nn, "self_attn");
    q = nn_linear(nn, x, "q_proj", d);
    k = nn_linear(nn, x, "k_proj", d);
    v = nn_linear(nn, x, "v_proj", d);
    /* Causal only: padding after the end token is attended to, as in training. */
    x = cn_attention(nn->g, q, k, v, c->heads, 1.0f / sqrtf((float)(d / c->heads)), true);
    x = nn_linear(nn, x, "out_proj", d);
    nn_leave(nn);
    return x;
}

static cn_val mlp(struct nn *nn, cn_val x, const struct cn_text_config *c)
{
    x = cn_act(nn->g, nn_linear(nn, x, "mlp.fc1", c->intermediate_size), c->act);
    return nn_linear(nn, x, "mlp.fc2", c->hidden_size);
}

static cn_val layer(struct nn *nn, cn_val x, const struct cn_text_config *c)
{
    cn_val h = self_attention(nn, nn_layer_norm(nn, x, "layer_norm1", c->layer_norm_eps), c);

    x = cn_add(nn->g, x, h);
    h = mlp(nn, nn_layer_norm(nn, x, "layer_norm2", c->layer_norm_eps), c);
    return cn_add(nn->g, x, h);
}

struct cn_text_use cn_text_usual(const struct cn_text_config *c, int skip)
{
    return (struct cn_text_use){.skip = skip + (c->penultimate ? 1 : 0),
                                .final_norm = !c->penultimate};
}

/* x through layers [from, to). */
static cn_val encoder_layers(struct nn *nn, cn_val x, const struct cn_text_config *c, int from,
                             int to)
{
    for (int i = from; i < to; i++) {
        nn_enter(nn, "encoder.layers.%d", i);
        x = layer(nn, x, c);
        nn_leave(nn);
    }
    return x;
}

static cn_val final_norm(struct nn *nn, cn_val x, const struct cn_text_config *c)
{
    return nn_layer_norm(nn, x, "final_layer_norm", c->layer_norm_eps);
}

struct cn_graph *cn_text_graph(const struct cn_text_config *c, int n, int s,
                               const struct cn_text_use *use)
{
    struct nn nn = {.g = cn_graph_new("text"), .adapts = true};
    cn_val x = cn_graph_input(nn.g, "rows", cn_shape3(n, s, c->hidden_size), CN_F32, 0), end = -1;
    int used = c->layers - use->skip;

    CN_ASSERT(use->skip >= 0 && used >= 0 && (!use->pooled || c->projection > 0));
    if (use->pooled)
        end = cn_graph_input(nn.g, "end", cn_shape2(n, 1), CN_I32, 0);
    nn_enter(&nn, "text_model");
    x = encoder_layers(&nn, x, c, 0, used);
    cn_graph_output(nn.g, "context", use->final_norm ? final_norm(&nn, x, c) : x, CN_IO_NATIVE);
    if (use->pooled)
        x = cn_gather(nn.g, final_norm(&nn, encoder_layers(&nn, x, c, used, c->layers), c), end);
    nn_leave(&nn);
    if (use->pooled)
        cn_graph_output(nn.g, "pooled", nn_linear_no_bias(&nn, x, "text_projection", c->projection),
                        0);
    return nn.g;
}
