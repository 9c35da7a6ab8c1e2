/* The CUDA runtime: memory, streams, events, graphs.
 *
 * DESIGN. A stream is a list of pieces of work with running numbers. Waiting for a stream runs its
 * pieces in order; a piece that waits for an event runs the event's stream up to the number that it
 * had when the event was recorded. The result of a piece is the device's state: after a failure
 * every call returns that failure. One recursive lock protects all of it. Both devices are lost
 * together: no test needs more. */
#include "base/base.h"
#include "tests/standin/standin_priv.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CN_STANDIN_KERNELS
#include "tests/kernels/emu/emu.h"
#endif

struct graph {
    struct standin_work *first, **end;
    int refs;
};

struct CUstream_st {
    struct standin_work *first, **end;
    long submitted, done;
    struct graph *capture;
    int device;
};

struct CUevent_st {
    cudaStream_t stream;
    long number;
    int device;
};

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static size_t device_bytes = (size_t)16 << 30;
static int devices = 2, lost, running;
static _Thread_local int last_error;
static long made[STANDIN_MAX_DEVICES];
static _Thread_local int capturing; /* captures that this thread has begun */
static _Thread_local int current;   /* device */
static char complaint[256];
static long calls[STANDIN_FUNCTION_COUNT];
static struct {
    long left;
    int code;
} fault[STANDIN_FUNCTION_COUNT];

struct standin_counts standin_now;
bool standin_no_fusion, standin_no_attention, standin_no_groups;

#define STANDIN_NAME(name) #name,
static const char *const names[] = {STANDIN_FUNCTIONS(STANDIN_NAME) NULL};

/* ---- the lock, counting, faults ---- */

static void init(void)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &a);
    pthread_mutexattr_destroy(&a);
}

void standin_lock(void)
{
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
}

void standin_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void standin_complain(const char *fmt, ...)
{
    va_list ap;

    if (complaint[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(complaint, sizeof(complaint), fmt, ap);
    va_end(ap);
}

const char *standin_complaint(void)
{
    return complaint[0] != '\0' ? complaint : NULL;
}

int standin_count(enum standin_function f)
{
    calls[f]++;
    if (fault[f].left > 0 && --fault[f].left == 0)
        return fault[f].code;
    return 0;
}

static bool sticky(int code)
{
    bool of_capture = code >= 900 && code < 911;

    return (code >= 200 && !of_capture) || code == cudaErrorDevicesUnavailable;
}

static void set_lost(int code)
{
    if (sticky(code) && lost == 0)
        lost = code;
}

int standin_enter(enum standin_function f)
{
    int code = standin_count(f);

    set_lost(code);
    if (code == 0)
        code = lost;
    if (code != 0)
        last_error = code;
    return code;
}

int standin_leave(int code)
{
    if (code != 0)
        last_error = code;
    standin_unlock();
    return code;
}

void standin_reset(void)
{
    size_t live = standin_now.live_bytes;
    long objects = standin_now.live_objects;

    standin_lock();
    standin_now = (struct standin_counts){.live_bytes = live, .live_objects = objects};
    memset(calls, 0, sizeof(calls));
    memset(fault, 0, sizeof(fault));
    memset(made, 0, sizeof(made));
    device_bytes = (size_t)16 << 30;
    devices = 2;
    lost = last_error = 0;
    complaint[0] = '\0';
    standin_no_fusion = standin_no_attention = standin_no_groups = false;
    standin_unlock();
}

struct standin_counts standin_counts(void)
{
    return standin_now;
}

static int find_function(const char *name)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    fprintf(stderr, "stand-in: no function \"%s\"\n", name);
    abort();
}

long standin_calls(const char *function)
{
    return calls[find_function(function)];
}

void standin_fail(const char *function, long nth, int code)
{
    int f = find_function(function);

    standin_lock();
    fault[f].left = nth;
    fault[f].code = code;
    standin_unlock();
}

const char *const *standin_functions(void)
{
    return names;
}

void standin_set_memory(size_t bytes)
{
    device_bytes = bytes;
}

size_t standin_device_bytes(void)
{
    return device_bytes;
}

void standin_set_devices(int n)
{
    devices = CN_MIN(n, STANDIN_MAX_DEVICES);
}

long standin_used(int device)
{
    return made[device];
}

int standin_current(void)
{
    return current;
}

int standin_make_here(void)
{
    made[current]++;
    return current;
}

int standin_device_of(cudaStream_t s)
{
    return s->device;
}

bool standin_may_launch(int device)
{
    if (device != current)
        last_error = cudaErrorInvalidResourceHandle;
    return device == current;
}

void standin_refuse_fusion(bool refuse)
{
    standin_no_fusion = refuse;
}

void standin_refuse_attention(bool refuse)
{
    standin_no_attention = refuse;
}

void standin_refuse_groups(bool refuse)
{
    standin_no_groups = refuse;
}

/* ---- work ---- */

static void drop_work(struct standin_work *w)
{
    if (w->drop != NULL)
        w->drop(w->ctx);
    free(w);
}

static void graph_unref(struct graph *g)
{
    if (--g->refs > 0)
        return;
    while (g->first != NULL) {
        struct standin_work *w = g->first;

        g->first = w->next;
        drop_work(w);
    }
    free(g);
}

static struct standin_work *new_work(int (*run)(void *ctx), void (*drop)(void *ctx), void *ctx)
{
    struct standin_work *w = cn_xcalloc(1, sizeof(*w));

    *w = (struct standin_work){.run = run, .drop = drop, .ctx = ctx};
    return w;
}

static int run_piece(const struct standin_work *w)
{
    int code = standin_count(STANDIN_execute);

    standin_now.executed++;
    if (code == 0)
        code = w->run(w->ctx);
    if (code != 0 && lost == 0)
        lost = code;
    return code;
}

/* Runs what the stream holds up to a number; all of it for a number that it has not reached. After
 * a failure the rest is thrown away. */
static int run_stream(cudaStream_t s, long until)
{
    if (running++ == 0)
        standin_show_memory(true);
    while (s->first != NULL && s->first->number <= until) {
        struct standin_work *w = s->first;

        s->first = w->next;
        if (s->first == NULL)
            s->end = &s->first;
        s->done = w->number;
        if (lost == 0)
            run_piece(w);
        drop_work(w);
    }
    if (--running == 0)
        standin_show_memory(false);
    return lost;
}

int standin_submit(cudaStream_t s, int (*run)(void *ctx), void (*drop)(void *ctx), void *ctx)
{
    struct standin_work *w = new_work(run, drop, ctx);
    struct standin_work ***end = s->capture != NULL ? &s->capture->end : &s->end;

    standin_now.launches++;
    w->number = s->capture != NULL ? 0 : ++s->submitted;
    **end = w;
    *end = &w->next;
    return cudaSuccess;
}

#ifdef CN_STANDIN_KERNELS
static int run_kernel(void *ctx)
{
    int code = emu_launch_run(ctx);

    if (code != 0)
        standin_complain("a kernel failed: %s", emu_error() != NULL ? emu_error() : "?");
    return code;
}

static void drop_kernel(void *ctx)
{
    emu_launch_free(ctx);
}

static int submit_kernel(void *ctx, struct CUstream_st *stream, struct emu_launch *launch)
{
    int code;

    (void)ctx;
    standin_lock();
    code = standin_enter(STANDIN_launch);
    if (code == 0 && !standin_may_launch(stream->device))
        code = cudaErrorInvalidResourceHandle;
    if (code != 0)
        emu_launch_free(launch);
    else
        code = standin_submit(stream, run_kernel, drop_kernel, launch);
    standin_unlock();
    return code;
}
#endif

/* ---- device ---- */

/* For programs that a test starts: CUDA_STANDIN_FAIL="FUNCTION NTH CODE" is standin_fail(), in the
 * first process only that can remove the file CUDA_STANDIN_ONCE when that is set;
 * CUDA_STANDIN_DEVICES a number. */
static void read_environment(void)
{
    const char *fail = getenv("CUDA_STANDIN_FAIL"), *file = getenv("CUDA_STANDIN_ONCE");
    const char *n = getenv("CUDA_STANDIN_DEVICES");
    static bool done;
    char name[64];
    long nth;
    int code;

    if (done)
        return;
    done = true;
    if (n != NULL)
        devices = atoi(n);
    if (fail != NULL && sscanf(fail, "%63s %ld %d", name, &nth, &code) == 3 &&
        (file == NULL || unlink(file) == 0))
        standin_fail(name, nth, code);
}

cudaError_t cudaGetDeviceCount(int *count)
{
    read_environment();
    STANDIN_ENTER(cudaGetDeviceCount);
    *count = devices;
#ifdef CN_STANDIN_KERNELS
    emu_set_submit(submit_kernel, NULL);
#endif
    STANDIN_LEAVE(devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    STANDIN_ENTER(cudaSetDevice);
    if (device < 0 || device >= devices)
        STANDIN_LEAVE(cudaErrorInvalidDevice);
    current = device;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    STANDIN_ENTER(cudaGetDeviceProperties);
    if (device < 0 || device >= devices)
        STANDIN_LEAVE(cudaErrorInvalidDevice);
    memset(prop, 0, sizeof(*prop));
    if (device == 0)
        snprintf(prop->name, sizeof(prop->name), "stand-in");
    else
        snprintf(prop->name, sizeof(prop->name), "stand-in %d", device);
    prop->major = 9;
    prop->totalGlobalMem = device_bytes;
    prop->multiProcessorCount = 132;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    STANDIN_ENTER(cudaRuntimeGetVersion);
    *version = CUDART_VERSION;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    STANDIN_ENTER(cudaDriverGetVersion);
    *version = CUDART_VERSION;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaGetLastError(void)
{
    int code;

    standin_lock();
    code = lost != 0 ? lost : last_error;
    last_error = 0;
    standin_unlock();
    return (cudaError_t)code;
}

cudaError_t cudaPeekAtLastError(void)
{
    return (cudaError_t)(lost != 0 ? lost : last_error);
}

const char *cudaGetErrorName(cudaError_t error)
{
    static char name[48];

    snprintf(name, sizeof(name), "error %d", (int)error);
    return name;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "no device" : "of the stand-in";
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    STANDIN_ENTER(cudaMalloc);
    standin_now.allocs++;
    if (capturing > 0)
        STANDIN_LEAVE(cudaErrorStreamCaptureUnsupported);
    STANDIN_LEAVE(standin_add_block(p, bytes, false));
}

/* Waits for everything, as the real one does. */
static int run_everything(void);

/* Frees also on a lost device: what a test finds alive afterwards was forgotten. */
cudaError_t cudaFree(void *p)
{
    int code;

    standin_lock();
    set_lost(code = standin_count(STANDIN_cudaFree));
    standin_now.frees++;
    if (capturing > 0)
        STANDIN_LEAVE(cudaErrorStreamCaptureUnsupported);
    run_everything();
    standin_remove_block(p, false);
    STANDIN_LEAVE(code != 0 ? code : lost);
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    STANDIN_ENTER(cudaMallocHost);
    STANDIN_LEAVE(standin_add_block(p, bytes, true));
}

cudaError_t cudaFreeHost(void *p)
{
    standin_lock();
    standin_count(STANDIN_cudaFreeHost);
    run_everything();
    standin_remove_block(p, true);
    STANDIN_LEAVE(lost);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    STANDIN_ENTER(cudaMemGetInfo);
    *total = device_bytes;
    *free_bytes = standin_free_bytes();
    STANDIN_LEAVE(cudaSuccess);
}

/* ---- streams and events ---- */

static cudaStream_t *streams;
static int n_streams;
static size_t stream_cap;

static int run_everything(void)
{
    for (int i = 0; i < n_streams; i++)
        run_stream(streams[i], streams[i]->submitted);
    return lost;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned flags)
{
    cudaStream_t s;

    STANDIN_ENTER(cudaStreamCreateWithFlags);
    (void)flags;
    s = cn_xcalloc(1, sizeof(*s));
    s->end = &s->first;
    s->device = standin_make_here();
    streams = cn_grow(streams, (size_t)n_streams, &stream_cap, sizeof(*streams));
    streams[n_streams++] = s;
    standin_now.live_objects++;
    *ret = s;
    STANDIN_LEAVE(cudaSuccess);
}

/* Frees also on a lost device, as a process's end would. */
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    standin_lock();
    standin_count(STANDIN_cudaStreamDestroy);
    run_stream(s, s->submitted);
    for (int i = 0; i < n_streams; i++)
        if (streams[i] == s)
            streams[i] = streams[--n_streams];
    if (n_streams == 0) {
        free(streams);
        streams = NULL;
        stream_cap = 0;
    }
    free(s);
    standin_now.live_objects--;
    STANDIN_LEAVE(lost);
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    STANDIN_ENTER(cudaStreamSynchronize);
    standin_now.waits++;
    if (capturing > 0)
        STANDIN_LEAVE(cudaErrorStreamCaptureUnsupported);
    STANDIN_LEAVE(run_stream(s, s->submitted));
}

static cudaError_t event_new(cudaEvent_t *ret)
{
    *ret = cn_xcalloc(1, sizeof(**ret));
    (*ret)->device = standin_make_here();
    standin_now.live_objects++;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *ret)
{
    STANDIN_ENTER(cudaEventCreate);
    STANDIN_LEAVE(event_new(ret));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned flags)
{
    STANDIN_ENTER(cudaEventCreateWithFlags);
    (void)flags;
    STANDIN_LEAVE(event_new(ret));
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    standin_lock();
    standin_count(STANDIN_cudaEventDestroy);
    free(e);
    standin_now.live_objects--;
    STANDIN_LEAVE(lost);
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    STANDIN_ENTER(cudaEventRecord);
    if (s->capture != NULL)
        STANDIN_LEAVE(cudaErrorStreamCaptureUnsupported); /* not what the backend does */
    if (s->device != e->device)
        STANDIN_LEAVE(cudaErrorInvalidResourceHandle);
    e->stream = s;
    e->number = s->submitted;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    STANDIN_ENTER(cudaEventSynchronize);
    standin_now.waits++;
    STANDIN_LEAVE(run_stream(e->stream, e->number));
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    STANDIN_ENTER(cudaEventElapsedTime);
    standin_now.trials++;
    if (to->device != from->device)
        STANDIN_LEAVE(cudaErrorInvalidResourceHandle);
    if (to->stream->done < to->number || from->stream->done < from->number)
        STANDIN_LEAVE(cudaErrorNotReady);
    *ms = 0.001f; /* the first candidate wins */
    STANDIN_LEAVE(cudaSuccess);
}

static int run_wait(void *ctx)
{
    struct CUevent_st *e = ctx;

    return run_stream(e->stream, e->number);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags)
{
    struct CUevent_st *copy;

    STANDIN_ENTER(cudaStreamWaitEvent);
    (void)flags;
    copy = cn_xmalloc(sizeof(*copy));
    *copy = *e; /* as it is now: recording it again does not change this wait */
    STANDIN_LEAVE(standin_submit(s, run_wait, free, copy));
}

/* ---- graphs: cudaGraph_t and cudaGraphExec_t are the same list ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    STANDIN_ENTER(cudaStreamBeginCapture);
    if (mode != cudaStreamCaptureModeThreadLocal)
        standin_complain("a capture that would forbid calls to the other threads");
    if (s->capture != NULL || s->first != NULL)
        STANDIN_LEAVE(cudaErrorIllegalState);
    s->capture = cn_xcalloc(1, sizeof(*s->capture));
    s->capture->end = &s->capture->first;
    s->capture->refs = 1;
    capturing++;
    standin_now.live_objects++;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *ret)
{
    int code;

    standin_lock();
    code = standin_enter(STANDIN_cudaStreamEndCapture);
    *ret = NULL;
    if (s->capture == NULL)
        STANDIN_LEAVE(cudaErrorIllegalState);
    capturing--;
    standin_now.captures++;
    if (code == 0) {
        *ret = (cudaGraph_t)s->capture;
    } else {
        graph_unref(s->capture);
        standin_now.live_objects--;
    }
    s->capture = NULL;
    STANDIN_LEAVE(code);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph, unsigned long long flags)
{
    STANDIN_ENTER(cudaGraphInstantiate);
    (void)flags;
    ((struct graph *)graph)->refs++;
    standin_make_here();
    standin_now.live_objects++;
    *ret = (cudaGraphExec_t)graph;
    STANDIN_LEAVE(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    standin_lock();
    standin_count(STANDIN_cudaGraphDestroy);
    graph_unref((struct graph *)graph);
    standin_now.live_objects--;
    STANDIN_LEAVE(lost);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    standin_lock();
    standin_count(STANDIN_cudaGraphExecDestroy);
    graph_unref((struct graph *)exec);
    standin_now.live_objects--;
    STANDIN_LEAVE(lost);
}

static int run_graph(void *ctx)
{
    struct graph *g = ctx;

    for (const struct standin_work *w = g->first; w != NULL; w = w->next) {
        int code = run_piece(w);

        if (code != 0)
            return code;
    }
    return cudaSuccess;
}

static void drop_graph(void *ctx)
{
    graph_unref(ctx);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    STANDIN_ENTER(cudaGraphLaunch);
    standin_now.graph_launches++;
    ((struct graph *)exec)->refs++;
    STANDIN_LEAVE(standin_submit(s, run_graph, drop_graph, exec));
}
