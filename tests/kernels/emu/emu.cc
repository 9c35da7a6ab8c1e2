/* Runs launches on the processor. See emu.h.
 *
 * DESIGN. A block's threads take their turn in a fixed order; the first thread in it that can go on
 * runs until it must wait, so one warp runs far ahead of the others, which shows a missing barrier
 * best. A thread that waits at a barrier or in a warp operation keeps its fiber; the one that
 * completes it makes all of them ready. A thread that never waits leaves its fiber to the next
 * thread: kernels without barriers run on one fiber. When no thread can go on and not all are done,
 * the barrier is divergent; the block is given up, its fibers are thrown away. */
#include "tests/kernels/emu/fiber.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
uint64_t emu_index_limit = UINT64_C(1) << 31;

namespace
{

enum { WARP = 32, MAX_THREADS = 1024, GUARD = 64, ALIGN = 256, MAX_SHARED = 47 * 1024 };

enum state { FRESH, READY, AT_BARRIER, IN_WARP_OP, DONE };

struct thread {
    enum state state;
    struct emu_fiber *fiber;
    const char *file; /* where it waits */
    int line;
    enum emu_warp_op op;
    unsigned mask;
    int operand;
    unsigned char value[8], result[8];
};

struct allocation {
    unsigned char *base, *data;
    size_t bytes;
};

/* What a block shares. */
struct shared_array {
    const void *key;
    const char *name;
    allocation memory;
};

struct turn {
    unsigned of[MAX_THREADS];   /* turn -> thread */
    unsigned place[MAX_THREADS]; /* thread -> turn */
    uint64_t ready[MAX_THREADS / 64]; /* bit per turn */
};

struct emulator {
    enum emu_order order = EMU_FORWARD;
    uint32_t seed = 1, random = 1;
    const emu_launch *launch = NULL;
    thread threads[MAX_THREADS];
    turn turns;
    unsigned count = 0, current = 0, done = 0, waiting = 0; /* waiting: at the barrier */
    bool failed = false; /* the block is given up */
    size_t shared_bytes = 0;
    std::vector<shared_array> shared;
    std::vector<emu_fiber *> fibers, idle;
    std::vector<allocation> allocations;
    char error[400] = "";
    long launches = 0;
    emu_submit_fn submit = NULL;
    void *submit_ctx = NULL;

    ~emulator()
    {
        for (emu_fiber *f : fibers)
            emu_fiber_free(f);
    }
} E;

void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void fail(const char *format, ...)
{
    va_list list;

    E.failed = true;
    if (E.error[0] != 0)
        return;
    va_start(list, format);
    vsnprintf(E.error, sizeof(E.error), format, list);
    va_end(list);
}

uint32_t next_random()
{
    E.random = E.random * 1664525u + 1013904223u;
    return E.random >> 8;
}

/* ---- guards: bytes that must stay as they are, or that AddressSanitizer watches ---- */

void set_guard(unsigned char *p)
{
    memset(p, 0x5c, GUARD);
#ifdef EMU_ASAN
    __asan_poison_memory_region(p, GUARD);
#endif
}

bool guard_is_whole(unsigned char *p)
{
#ifdef EMU_ASAN
    (void)p;
#else
    for (int i = 0; i < GUARD; i++)
        if (p[i] != 0x5c)
            return false;
#endif
    return true;
}

void remove_guard(unsigned char *p)
{
#ifdef EMU_ASAN
    __asan_unpoison_memory_region(p, GUARD);
#else
    (void)p;
#endif
}

void check_guards(unsigned char *data, size_t bytes, const char *what)
{
    if (!guard_is_whole(data - GUARD))
        fail("something was written before %s of %zu bytes", what, bytes);
    if (!guard_is_whole(data + bytes))
        fail("something was written behind %s of %zu bytes", what, bytes);
}

/* bytes at `shift` behind an aligned address, between guards. */
allocation allocate(size_t bytes, size_t shift)
{
    unsigned char *base = static_cast<unsigned char *>(malloc(bytes + shift + 2 * GUARD + ALIGN));
    allocation a = {base, base + GUARD, bytes};

    if (base == NULL)
        abort();
    a.data += ALIGN - reinterpret_cast<uintptr_t>(a.data) % ALIGN + shift;
    memset(a.data, 0xff, bytes);
    set_guard(a.data - GUARD);
    set_guard(a.data + bytes);
    return a;
}

void release(const allocation &a, const char *what)
{
    check_guards(a.data, a.bytes, what);
    remove_guard(a.data - GUARD);
    remove_guard(a.data + a.bytes);
    free(a.base);
}

/* ---- turns ---- */

void set_ready(unsigned t)
{
    unsigned place = E.turns.place[t];

    E.turns.ready[place / 64] |= UINT64_C(1) << (place % 64);
}

/* The first thread that can go on, taken; -1: none. */
int take_ready()
{
    for (unsigned w = 0; w * 64 < E.count; w++)
        if (E.turns.ready[w] != 0) {
            unsigned place = w * 64 + (unsigned)__builtin_ctzll(E.turns.ready[w]);

            E.turns.ready[w] &= E.turns.ready[w] - 1;
            return (int)E.turns.of[place];
        }
    return -1;
}

void set_turns()
{
    memset(E.turns.ready, 0, sizeof(E.turns.ready));
    for (unsigned i = 0; i < E.count; i++)
        E.turns.of[i] = E.order == EMU_REVERSE ? E.count - 1 - i : i;
    if (E.order == EMU_SHUFFLED)
        for (unsigned i = E.count; i > 1; i--)
            std::swap(E.turns.of[i - 1], E.turns.of[next_random() % i]);
    for (unsigned i = 0; i < E.count; i++) {
        E.turns.place[E.turns.of[i]] = i;
        set_ready(E.turns.of[i]);
    }
}

void become(unsigned t)
{
    E.current = t;
    threadIdx.x = t % blockDim.x;
    threadIdx.y = t / blockDim.x % blockDim.y;
    threadIdx.z = t / blockDim.x / blockDim.y;
}

/* ---- fibers ---- */

const char *name_of(enum state s)
{
    static const char *const name[] = {"not started", "ready", "at a barrier",
                                       "in a warp operation", "at its end"};

    return name[s];
}

/* Names of a file are mostly the same pointer: strcmp(), intercepted, costs more than the rest. */
bool same_place(const thread *t, const char *file, int line)
{
    return t->line == line && (t->file == file || strcmp(t->file, file) == 0);
}

/* No thread can go on: two that do not fit together tell why. */
void report_divergence()
{
    const thread *a = NULL;

    for (unsigned i = 0; i < E.count && a == NULL; i++)
        if (E.threads[i].state == AT_BARRIER || E.threads[i].state == IN_WARP_OP)
            a = &E.threads[i];
    for (unsigned i = 0; i < E.count; i++) {
        const thread *b = &E.threads[i];

        if (b->state != a->state || !same_place(b, a->file, a->line)) {
            fail("divergence: thread %d waits %s at %s:%d, thread %u is %s (%s:%d)",
                 (int)(a - E.threads), name_of(a->state), a->file, a->line, i, name_of(b->state),
                 b->file, b->line);
            return;
        }
    }
    fail("divergence: no thread can go on at %s:%d", a->file, a->line);
}

void fiber_entry();

struct emu_fiber *idle_fiber()
{
    if (E.idle.empty()) {
        E.idle.push_back(emu_fiber_new(fiber_entry));
        E.fibers.push_back(E.idle.back());
    }
    struct emu_fiber *f = E.idle.back();

    E.idle.pop_back();
    return f;
}

/* The running fiber waits (as thread t) or is idle; whoever can go on does. */
void give_way(struct emu_fiber *self)
{
    int next = E.failed ? -1 : take_ready();
    struct emu_fiber *to = emu_fiber_main();

    if (next < 0 && !E.failed && E.done < E.count)
        report_divergence();
    if (next >= 0 && !E.failed) {
        thread *t = &E.threads[next];

        if (t->state == FRESH)
            t->fiber = idle_fiber();
        to = t->fiber;
        become((unsigned)next);
    }
    if (to != self)
        emu_fiber_switch(self, to);
}

/* The thread stops here until somebody makes it ready and its turn comes. */
void wait_turn()
{
    unsigned me = E.current;

    give_way(E.threads[me].fiber);
}

void finish(thread *t)
{
    t->state = DONE;
    t->file = "";
    t->line = 0;
    E.done++;
}

/* Runs the current thread, then others that have not begun, then lies idle. */
void fiber_entry()
{
    emu_fiber_begin();
    for (;;) {
        thread *t = &E.threads[E.current];
        struct emu_fiber *self = t->fiber;

        t->state = READY;
        E.launch->thread();
        finish(t);
        E.idle.push_back(self);
        give_way(self);
    }
}

/* ---- blocks ---- */

void begin_block()
{
    E.failed = false;
    E.done = E.waiting = 0;
    E.shared_bytes = E.launch->config.dynamicSmemBytes;
    for (unsigned i = 0; i < E.count; i++) {
        E.threads[i] = thread();
        E.threads[i].file = "";
    }
    set_turns();
}

void end_block()
{
    for (const shared_array &s : E.shared)
        release(s.memory, s.name);
    E.shared.clear();
    if (E.shared_bytes > MAX_SHARED)
        fail("%zu bytes of shared memory", E.shared_bytes);
    if (E.failed) { /* fibers of threads that wait for ever */
        for (emu_fiber *f : E.fibers)
            emu_fiber_free(f);
        E.fibers.clear();
        E.idle.clear();
    }
}

bool run_block(uint64_t index)
{
    const dim3 &grid = E.launch->config.gridDim;

    blockIdx.x = (unsigned)(index % grid.x);
    blockIdx.y = (unsigned)(index / grid.x % grid.y);
    blockIdx.z = (unsigned)(index / grid.x / grid.y);
    begin_block();
    give_way(emu_fiber_main());
    end_block();
    return !E.failed;
}

bool fits(const cudaLaunchConfig_t &c)
{
    const dim3 &g = c.gridDim, &b = c.blockDim;
    uint64_t threads = (uint64_t)b.x * b.y * b.z;

    return threads > 0 && threads <= MAX_THREADS && b.z <= 64 && g.x > 0 && g.x <= 0x7fffffff &&
           g.y > 0 && g.y <= 65535 && g.z > 0 && g.z <= 65535 && c.dynamicSmemBytes <= MAX_SHARED;
}

/* The same permutation of any number of blocks: a step that has no factor in common with it. */
uint64_t coprime_step(uint64_t blocks)
{
    uint64_t step = next_random() % blocks + 1, a, b, r;

    for (;; step++) {
        for (a = step, b = blocks; b != 0; r = a % b, a = b, b = r)
            ;
        if (a == 1)
            return step;
    }
}

} /* namespace */

/* ---- what kernels call ---- */

void *emu_shared(const void *key, size_t bytes, const char *name)
{
    for (const shared_array &s : E.shared)
        if (s.key == key)
            return s.memory.data;
    if (key != NULL)
        E.shared_bytes += bytes;
    E.shared.push_back({key, name, allocate(bytes, 0)});
    return E.shared.back().memory.data;
}

unsigned char *emu_dynamic_shared()
{
    return static_cast<unsigned char *>(
        emu_shared(NULL, E.launch->config.dynamicSmemBytes, "dynamic shared memory"));
}

static void wait_at(enum state s, const char *file, int line)
{
    thread *t = &E.threads[E.current];

    t->state = s;
    t->file = file;
    t->line = line;
}

void emu_barrier(const char *file, int line)
{
    wait_at(AT_BARRIER, file, line);
    if (++E.waiting == E.count) {
        for (unsigned i = 0; i < E.count; i++) {
            const thread *t = &E.threads[i];

            if (!same_place(t, file, line))
                fail("threads %u and %u meet at different barriers, %s:%d and %s:%d", E.current, i,
                     file, line, t->file, t->line);
        }
        for (unsigned i = 0; i < E.count; i++) {
            E.threads[i].state = READY;
            set_ready(i);
        }
        E.waiting = 0;
    }
    wait_turn();
}

/* Which lane's value a lane gets. CUDA programming guide, warp shuffle functions. */
static int source_of(const thread *t, int lane)
{
    switch (t->op) {
    case EMU_XOR:
        return lane ^ t->operand;
    case EMU_DOWN:
        return lane + t->operand < WARP ? lane + t->operand : lane;
    case EMU_UP:
        return lane >= t->operand ? lane - t->operand : lane;
    case EMU_INDEX:
        return t->operand & (WARP - 1);
    default:
        return lane;
    }
}

/* Do all lanes of the mask wait in the same operation? The last lanes come last, mostly: whoever
 * asks before them is answered by the first look. */
static bool complete(const thread *warp, const thread *t)
{
    for (int lane = WARP - 1; lane >= 0; lane--)
        if ((t->mask >> lane & 1) != 0 && warp[lane].state != IN_WARP_OP)
            return false;
    for (int lane = 0; lane < WARP; lane++) {
        const thread *o = warp + lane;

        if ((t->mask >> lane & 1) == 0)
            continue;
        if (o->op != t->op || o->mask != t->mask || !same_place(o, t->file, t->line))
            return false;
    }
    return true;
}

/* All lanes of a mask must be there. */
static void check_lanes(unsigned first, unsigned mask, const char *file, int line)
{
    if (E.done == 0 && first + WARP <= E.count)
        return;
    for (unsigned lane = 0; lane < WARP; lane++)
        if ((mask >> lane & 1) != 0 &&
            (first + lane >= E.count || E.threads[first + lane].state == DONE))
            fail("lane %u of the mask does not exist or has ended, at %s:%d", lane, file, line);
}

static void bring(thread *warp, unsigned first, unsigned mask)
{
    for (int lane = 0; lane < WARP; lane++) {
        thread *t = warp + lane;
        int from = source_of(t, lane);

        if ((mask >> lane & 1) == 0)
            continue;
        if (from < 0 || from >= WARP || (mask >> from & 1) == 0) {
            fail("lane %d reads lane %d, which is not in the mask, at %s:%d", lane, from, t->file,
                 t->line);
            return;
        }
        memcpy(t->result, warp[from].value, sizeof(t->result));
    }
    for (unsigned lane = 0; lane < WARP; lane++)
        if (mask >> lane & 1) {
            warp[lane].state = READY;
            set_ready(first + lane);
        }
}

void emu_warp(enum emu_warp_op op, unsigned mask, void *value, int operand, const char *file,
              int line)
{
    unsigned me = E.current, first = me / WARP * WARP;
    thread *t = &E.threads[me], *warp = &E.threads[first];

    if ((mask >> (me - first) & 1) == 0)
        fail("thread %u is not in its own mask at %s:%d", me, file, line);
    check_lanes(first, mask, file, line);
    t->op = op;
    t->mask = mask;
    t->operand = operand;
    memcpy(t->value, value, sizeof(t->value));
    wait_at(IN_WARP_OP, file, line);
    if (!E.failed && complete(warp, t))
        bring(warp, first, mask);
    wait_turn();
    memcpy(value, E.threads[me].result, sizeof(t->result));
}

/* ---- what tests call ---- */

cudaError_t emu_submit(struct emu_launch *launch)
{
    int rc;

    if (E.submit != NULL)
        return (cudaError_t)E.submit(E.submit_ctx, launch->config.stream, launch);
    rc = emu_launch_run(launch);
    emu_launch_free(launch);
    return (cudaError_t)rc;
}

int emu_launch_run(struct emu_launch *launch)
{
    const cudaLaunchConfig_t &c = launch->config;
    uint64_t blocks, at = 0, step = 1;

    E.launches++;
    if (!fits(c)) {
        fail("no device takes a grid of %u x %u x %u, blocks of %u x %u x %u and %zu bytes",
             c.gridDim.x, c.gridDim.y, c.gridDim.z, c.blockDim.x, c.blockDim.y, c.blockDim.z,
             c.dynamicSmemBytes);
        return cudaErrorInvalidConfiguration;
    }
    E.launch = launch;
    E.random = E.seed;
    gridDim = c.gridDim;
    blockDim = c.blockDim;
    E.count = blockDim.x * blockDim.y * blockDim.z;
    blocks = (uint64_t)gridDim.x * gridDim.y * gridDim.z;
    if (E.order == EMU_REVERSE)
        at = blocks - 1, step = blocks - 1;
    if (E.order == EMU_SHUFFLED)
        at = next_random() % blocks, step = coprime_step(blocks);
    for (uint64_t i = 0; i < blocks; i++, at = (at + step) % blocks)
        if (!run_block(at))
            return cudaErrorLaunchFailure;
    E.failed = false;
    for (const allocation &a : E.allocations)
        check_guards(a.data, a.bytes, "device memory");
    return E.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

void emu_launch_free(struct emu_launch *launch)
{
    delete launch;
}

void emu_set_submit(emu_submit_fn fn, void *ctx)
{
    E.submit = fn;
    E.submit_ctx = ctx;
}

void emu_set_order(enum emu_order order, uint32_t seed)
{
    E.order = order;
    E.seed = seed;
}

void *emu_alloc(size_t bytes, size_t shift)
{
    E.allocations.push_back(allocate(bytes, shift));
    return E.allocations.back().data;
}

void emu_free(void *p)
{
    for (size_t i = 0; i < E.allocations.size(); i++)
        if (E.allocations[i].data == p) {
            release(E.allocations[i], "device memory");
            E.allocations.erase(E.allocations.begin() + (ptrdiff_t)i);
            return;
        }
}

const char *emu_error(void)
{
    return E.error[0] != 0 ? E.error : NULL;
}

void emu_clear(void)
{
    E.error[0] = 0;
}

long emu_launches(void)
{
    return E.launches;
}
