#!/bin/sh
# Every convolution of the op table and of SD 1.5 has an engine in cuDNN, in 16 bits and in 32. (What
# is compiled at run time, attention among it, needs a driver and is not asked for here.)
failed=0
for type in f16 bf16 f32; do
    tests/standin/engines $type ops || failed=1
done
[ "${CN_QUICK:-0}" != 0 ] || tests/standin/engines f16 shapes || failed=1
exit $failed
