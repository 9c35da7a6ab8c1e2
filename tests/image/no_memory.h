/* Makes the layer's allocations fail: link with no_memory.c and the --wrap flags of local.mk. */
#ifndef CN_TEST_IMAGE_NO_MEMORY_H
#define CN_TEST_IMAGE_NO_MEMORY_H

/* The allocation after n more fails, once; n < 0: none does. */
void fail_allocation(int n);

#endif
