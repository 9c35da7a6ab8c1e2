/* Changing stacks: some instructions where the processor is known (a launch of 256 threads with ten
 * barriers changes 2560 times), ucontext elsewhere, which asks the kernel for the signal mask each
 * time. */
#include "tests/kernels/emu/fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK = 256 * 1024, PAGE = 4096 };

struct emu_fiber {
    void *stack; /* NULL: main */
    const void *bottom; /* what AddressSanitizer is told */
    size_t size;
    void *fake;
#ifdef __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
};

static struct emu_fiber main_fiber;
static struct emu_fiber *came_from; /* whom the running fiber was changed to by */

#ifdef __x86_64__
/* Callee-saved registers go onto the old stack, the stacks change, registers come back. */
extern "C" void emu_change_stack(void **from, void *to);
__asm__(".text\n"
        ".type emu_change_stack, @function\n"
        "emu_change_stack:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
        "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n"
        "    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size emu_change_stack, .-emu_change_stack\n");

static void change(struct emu_fiber *from, struct emu_fiber *to)
{
    emu_change_stack(&from->sp, to->sp);
}

/* The stack of a fiber that "was changed away from" just before entry: six registers, and the
 * address to return to, placed so that entry finds the stack aligned as after a call. */
static void prepare(struct emu_fiber *f, void (*entry)(void))
{
    void **top = reinterpret_cast<void **>(static_cast<char *>(f->stack) + PAGE + STACK) - 2;

    top[0] = reinterpret_cast<void *>(entry);
    top[1] = NULL;
    for (int i = 1; i <= 6; i++)
        top[-i] = NULL;
    f->sp = top - 6;
}
#else
static void change(struct emu_fiber *from, struct emu_fiber *to)
{
    swapcontext(&from->context, &to->context);
}

static void prepare(struct emu_fiber *f, void (*entry)(void))
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = static_cast<char *>(f->stack) + PAGE;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, entry, 0);
}
#endif

/* Below the stack is a page that nobody may touch. */
struct emu_fiber *emu_fiber_new(void (*entry)(void))
{
    struct emu_fiber *f = static_cast<struct emu_fiber *>(calloc(1, sizeof(*f)));

    f->stack = mmap(NULL, PAGE + STACK, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->stack == MAP_FAILED || mprotect(f->stack, PAGE, PROT_NONE) != 0) {
        perror("no stack for a fiber");
        abort();
    }
    f->bottom = static_cast<char *>(f->stack) + PAGE;
    f->size = STACK;
    prepare(f, entry);
    return f;
}

void emu_fiber_free(struct emu_fiber *f)
{
#ifdef EMU_ASAN
    __asan_unpoison_memory_region(f->bottom, f->size); /* frames that were never left */
#endif
    munmap(f->stack, PAGE + STACK);
    free(f);
}

struct emu_fiber *emu_fiber_main(void)
{
    return &main_fiber;
}

/* The running fiber learns where its predecessor's stack is: how main's is found. */
static void arrive(void *fake)
{
#ifdef EMU_ASAN
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (came_from == &main_fiber) {
        main_fiber.bottom = bottom;
        main_fiber.size = size;
    }
#else
    (void)fake;
#endif
}

void emu_fiber_begin(void)
{
    arrive(NULL);
}

void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to)
{
    came_from = from;
#ifdef EMU_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#endif
    change(from, to);
    arrive(from->fake);
}
