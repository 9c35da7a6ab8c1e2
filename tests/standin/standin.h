/* A stand-in for the CUDA runtime, cuBLASLt and cuDNN: the calls that src/backend/cuda makes, on
 * the processor, for machines without a device. For tests only: it knows these calls and no
 * others.
 *
 * Device memory is host memory; with AddressSanitizer the host may not touch it, and every block
 * has its own redzones. Work that a call enqueues is done when the host waits for it, and not
 * before, in the order that streams and events give: a wait that is missing shows as wrong
 * numbers. Captured work is kept and run again by each launch of the graph. Products and
 * convolutions are computed in double from what the descriptors say; kernels of kernels/cuda come
 * from tests/kernels/emu.
 *
 * It refuses what CUDA would refuse or do slowly: copies from memory that is not pinned, addresses
 * outside of the block that they belong to, waiting or allocating while a stream is captured.
 *
 * There are two devices unless a test says otherwise. Which one is current belongs to the thread
 * and begins as 0, as CUDA has it. Streams, events, memory and the libraries' handles belong to the
 * device that was current when they were made; a launch, a product or a plan of cuDNN needs the
 * device of its stream to be current, and touches memory of that device only.
 *
 * Any thread; everything runs under one lock. */
#ifndef CN_TESTS_STANDIN_H
#define CN_TESTS_STANDIN_H

#include <stdbool.h>
#include <stddef.h>

/* Calls since standin_reset(). */
struct standin_counts {
    long allocs, frees, waits, launches, copies, captures, graph_launches, executed;
    long trials;       /* cudaEventElapsedTime */
    size_t live_bytes; /* device memory that was not freed */
    long live_objects; /* streams, events, graphs, handles, descriptors, pinned blocks */
};

void standin_reset(void); /* counts (not what lives), faults, limits, a lost device */
struct standin_counts standin_counts(void);

/* How often a function was called since standin_reset(): "cudaMalloc". "execute" counts pieces of
 * work that were run on the device. */
long standin_calls(const char *function);
/* The nth call from now on returns this code of its own kind of status, once; codes that CUDA calls
 * sticky are returned by every call after it, too. For "execute" the code is a cudaError_t. */
void standin_fail(const char *function, long nth, int code);
/* Names of the functions, NULL-terminated. */
const char *const *standin_functions(void);

void standin_set_memory(size_t bytes);   /* of each device; default 16 GiB */
void standin_set_devices(int n);         /* default 2 */
long standin_used(int device);           /* objects and blocks made there since standin_reset() */
void standin_refuse_fusion(bool refuse); /* cuDNN then takes plain convolutions only */
void standin_refuse_attention(bool refuse);
void standin_refuse_groups(bool refuse); /* convolutions in groups */
/* What went wrong without being anybody's error code, for instance an address that is no device's:
 * NULL when nothing did. */
const char *standin_complaint(void);

#endif
