/* CUDA kernels on the processor, for tests where there is no device.
 *
 * The files of kernels/cuda are compiled by the C++ compiler against the headers of this folder
 * (cuda_runtime.h, cuda_fp16.h, cuda_bf16.h). A launch then runs every thread of every block,
 * blocks one after the other, the threads of a block as fibers that change at barriers and shuffles
 * only. Found and reported, as an error of the launch:
 *
 *   - a barrier that not all threads of the block reach, or reach at different lines;
 *   - a warp operation that a lane of its mask misses, or that names lanes which do not exist, or
 *     that reads a lane outside the mask;
 *   - writes next to memory of emu_alloc() and next to shared arrays (by their guards; with
 *     AddressSanitizer also reads, at once and at the line);
 *   - sizes that no device accepts: block, grid, shared memory above 47 KiB (of 48
 *     that every device allows, from capability 9.0 on CUDA keeps 1).
 *
 * Shared memory starts as NaN in every block. A missing barrier shows as a result that depends on
 * emu_set_order(): the same launch is run with several orders and the results are compared.
 *
 * Not found: races whose outcome no order changes; threads of one warp that need not be in step but
 * are assumed to be, as long as some order of whole stretches between barriers hides it; anything
 * about speed. Only one thread may use all this. */
#ifndef TESTS_KERNELS_EMU_H
#define TESTS_KERNELS_EMU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

/* In which order blocks, and the threads of a block between barriers, take their turn. */
enum emu_order { EMU_FORWARD, EMU_REVERSE, EMU_SHUFFLED };
void emu_set_order(enum emu_order order, uint32_t seed);

/* Device memory: `bytes` exactly, at `shift` bytes behind an address aligned to 256; filled with
 * 0xff, which is NaN in every float. Guards are checked after every launch and by emu_free(). */
void *emu_alloc(size_t bytes, size_t shift);
void emu_free(void *p);

/* The first error since emu_clear(), with file and line of the kernel; NULL: none. */
const char *emu_error(void);
void emu_clear(void);
long emu_launches(void); /* how many, since the program began */

/* From how many elements on kernels index with 64 bits; 2^31 on a device. */
extern uint64_t emu_index_limit;

/* A launch, for who wants to run it later or again, as a captured graph does. fn gets every launch
 * and owns it; without fn it is run and freed at once. */
struct emu_launch;
typedef int (*emu_submit_fn)(void *ctx, struct CUstream_st *stream, struct emu_launch *launch);
void emu_set_submit(emu_submit_fn fn, void *ctx);
int emu_launch_run(struct emu_launch *launch); /* 0 or a cudaError_t; as often as wanted */
void emu_launch_free(struct emu_launch *launch);

#ifdef __cplusplus
}
#endif

#endif
