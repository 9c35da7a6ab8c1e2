/* The store: its thread, and what the loop sees of it. */
#include "base/base.h"
#include "store/store.h"

static const char *const state_names[CN_STORE_STATE_COUNT] = {"queued", "running",   "succeeded",
                                                              "failed", "cancelled", "expired"};
const struct cn_enum cn_enum_store_state = {"state", state_names, CN_STORE_STATE_COUNT};
