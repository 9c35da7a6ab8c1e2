/* Fibers: stacks that the emulator of emu.cc changes between, known to AddressSanitizer. */
#ifndef TESTS_KERNELS_EMU_FIBER_H
#define TESTS_KERNELS_EMU_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif

struct emu_fiber;

/* entry must never return. */
struct emu_fiber *emu_fiber_new(void (*entry)(void));
void emu_fiber_free(struct emu_fiber *f);

/* The stack that the program itself runs on. */
struct emu_fiber *emu_fiber_main(void);

/* From the running fiber to another; returns when something changes back. */
void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to);

/* First thing in a fiber's entry. */
void emu_fiber_begin(void);

#endif
