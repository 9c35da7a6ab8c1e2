/* Made by tests/data/image/golden.py with Pillow 13.0.0 and OpenCV 5.0.0. */
#ifndef CN_TEST_IMAGE_GOLDEN_H
#define CN_TEST_IMAGE_GOLDEN_H

#include "image/resize.h"

#define GOLDEN_PICTURE 0x1eaf911e43a17da2
#define GOLDEN_GREY_CV 0x68bd33f5df6dbe8d
#define GOLDEN_GREY_PILLOW 0x97fe2f63004e76f6
#define GOLDEN_OTSU 134
#define GOLDEN_BINARY 0x5cab24b4f3b3b7a1
#define GOLDEN_THRESHOLD 0x263340bc0ec99eb3
#define GOLDEN_SCRIBBLE_WHITE 243 /* pixels */
#define GOLDEN_LINEART_SUM 56609

static const struct {
    int low, high, l2;
    uint64_t hash;
} golden_canny[] = {
    {100, 200, 0, 0xf49992b50e8d8ce6},
    {30, 60, 0, 0x6ea1bce83a1448db},
    {200, 100, 0, 0xf49992b50e8d8ce6},
    {100, 200, 1, 0x0999ad15606489b5},
    {0, 0, 0, 0xa442993677218f72},
    {500, 900, 1, 0xf57cd3744e8429c6},
};

static const struct {
    int c;
    enum cn_filter filter;
    int w, h;
    uint64_t hash;
} golden_resize[] = {
    {3, CN_NEAREST, 97, 61, 0x1eaf911e43a17da2},
    {3, CN_NEAREST, 512, 512, 0x9b3f3392d682d1a2},
    {3, CN_NEAREST, 48, 30, 0xf6e15d844a9a99f4},
    {3, CN_NEAREST, 1, 1, 0xc61fb01bc7781db6},
    {3, CN_NEAREST, 13, 200, 0x4a41b1da0a62fbe2},
    {3, CN_NEAREST, 300, 7, 0xea48b0e5f21ed079},
    {3, CN_NEAREST, 97, 40, 0x26d3877c52c39c49},
    {3, CN_NEAREST, 64, 61, 0x6785517d46660c2d},
    {3, CN_NEAREST, 96, 60, 0x931d1c815004b56d},
    {3, CN_NEAREST, 200, 20, 0xee8731793ce6d9ff},
    {3, CN_NEAREST, 90, 10, 0x9a4b0bfa1c1c737d},
    {3, CN_BOX, 97, 61, 0x1eaf911e43a17da2},
    {3, CN_BOX, 512, 512, 0x9b3f3392d682d1a2},
    {3, CN_BOX, 48, 30, 0x15c22ee5f7ddf7a5},
    {3, CN_BOX, 1, 1, 0x1b087d1ad4d0a78b},
    {3, CN_BOX, 13, 200, 0x7e7b2e21abeaf6b1},
    {3, CN_BOX, 300, 7, 0x9b43a46d478a3add},
    {3, CN_BOX, 97, 40, 0x901002d918b28bfd},
    {3, CN_BOX, 64, 61, 0x6c9eabe1ce0297a9},
    {3, CN_BOX, 96, 60, 0x72b96f72d72d5b15},
    {3, CN_BOX, 200, 20, 0x2ef7dda4ad3184af},
    {3, CN_BOX, 90, 10, 0x868fbccf4b2e8af3},
    {3, CN_BILINEAR, 97, 61, 0x1eaf911e43a17da2},
    {3, CN_BILINEAR, 512, 512, 0xfc3f41d5293e4a99},
    {3, CN_BILINEAR, 48, 30, 0x73e1f6ad2fe103da},
    {3, CN_BILINEAR, 1, 1, 0xae3e771b282e361e},
    {3, CN_BILINEAR, 13, 200, 0xc2a3676cbed016a3},
    {3, CN_BILINEAR, 300, 7, 0x48ff2be8927d7380},
    {3, CN_BILINEAR, 97, 40, 0x9b5052045a174d5f},
    {3, CN_BILINEAR, 64, 61, 0x924ccda22c0bd7c9},
    {3, CN_BILINEAR, 96, 60, 0x12cab1d10094e7ec},
    {3, CN_BILINEAR, 200, 20, 0x4269798e880395a1},
    {3, CN_BILINEAR, 90, 10, 0xc3707166f0c9b212},
    {3, CN_BICUBIC, 97, 61, 0x1eaf911e43a17da2},
    {3, CN_BICUBIC, 512, 512, 0xf2dbc8b91a6c78c3},
    {3, CN_BICUBIC, 48, 30, 0x84a47cd47eea869a},
    {3, CN_BICUBIC, 1, 1, 0x579c4a1af71b6c2c},
    {3, CN_BICUBIC, 13, 200, 0x39ed94bc6d804edb},
    {3, CN_BICUBIC, 300, 7, 0x705576d9ed2db443},
    {3, CN_BICUBIC, 97, 40, 0x65b01081089a7b04},
    {3, CN_BICUBIC, 64, 61, 0x0829f44c6e47308b},
    {3, CN_BICUBIC, 96, 60, 0x9e69ade571a292c8},
    {3, CN_BICUBIC, 200, 20, 0x1cde21fd514d89be},
    {3, CN_BICUBIC, 90, 10, 0xd34b1e72913f43ab},
    {3, CN_LANCZOS, 97, 61, 0x1eaf911e43a17da2},
    {3, CN_LANCZOS, 512, 512, 0x17bc360d52863f68},
    {3, CN_LANCZOS, 48, 30, 0x7a00b2a83e6e0b2f},
    {3, CN_LANCZOS, 1, 1, 0x605a231afc14b39b},
    {3, CN_LANCZOS, 13, 200, 0x054a62729349922b},
    {3, CN_LANCZOS, 300, 7, 0xdf3a799d217680c0},
    {3, CN_LANCZOS, 97, 40, 0x8c6ecb57f8512495},
    {3, CN_LANCZOS, 64, 61, 0x3deddac625cd8c7f},
    {3, CN_LANCZOS, 96, 60, 0x86359cb8269b63b4},
    {3, CN_LANCZOS, 200, 20, 0xf48fd9eacf2a4a99},
    {3, CN_LANCZOS, 90, 10, 0xddf2972e2c34ebd2},
    {4, CN_NEAREST, 97, 61, 0xeb6292594583ca63},
    {4, CN_NEAREST, 512, 512, 0x120b12a03b97caf7},
    {4, CN_NEAREST, 48, 30, 0xce682db3b3adacf4},
    {4, CN_NEAREST, 1, 1, 0x57b0e53411bc13bb},
    {4, CN_NEAREST, 13, 200, 0xa1bac96526ed166e},
    {4, CN_NEAREST, 300, 7, 0xc79da71fb990e0f2},
    {4, CN_NEAREST, 97, 40, 0xe54dadb707649b12},
    {4, CN_NEAREST, 64, 61, 0xaad07e23d887fb1a},
    {4, CN_NEAREST, 96, 60, 0xdefe3c426a6175be},
    {4, CN_NEAREST, 200, 20, 0xefee0a057720226d},
    {4, CN_NEAREST, 90, 10, 0xdaf77dd36886e390},
    {4, CN_BOX, 97, 61, 0xeb6292594583ca63},
    {4, CN_BOX, 512, 512, 0xc0f9e92a783bca1c},
    {4, CN_BOX, 48, 30, 0xe097e9b54bc9c433},
    {4, CN_BOX, 1, 1, 0xdd44b6e439a13df6},
    {4, CN_BOX, 13, 200, 0x59dfc84c8934f0f6},
    {4, CN_BOX, 300, 7, 0x89e007082ae93f92},
    {4, CN_BOX, 97, 40, 0xf42770e79a4d2f61},
    {4, CN_BOX, 64, 61, 0x7b7cb2dee9a58859},
    {4, CN_BOX, 96, 60, 0xc14956f7e372bedf},
    {4, CN_BOX, 200, 20, 0xe91df6c88eda3daa},
    {4, CN_BOX, 90, 10, 0x402b5954321caa7e},
    {4, CN_BILINEAR, 97, 61, 0xeb6292594583ca63},
    {4, CN_BILINEAR, 512, 512, 0x0b5d1bc8bfa54749},
    {4, CN_BILINEAR, 48, 30, 0xf232977a49bce193},
    {4, CN_BILINEAR, 1, 1, 0xe19d6f265cc9894a},
    {4, CN_BILINEAR, 13, 200, 0xe39b36d78efa07c3},
    {4, CN_BILINEAR, 300, 7, 0xfac26e1be9599ae1},
    {4, CN_BILINEAR, 97, 40, 0x9a701124b2070c9c},
    {4, CN_BILINEAR, 64, 61, 0x4f7d49b6ad3cc220},
    {4, CN_BILINEAR, 96, 60, 0x94c1bc12bac2412f},
    {4, CN_BILINEAR, 200, 20, 0x6e94fe94bd97d00a},
    {4, CN_BILINEAR, 90, 10, 0x4aece888b5c8d398},
    {4, CN_BICUBIC, 97, 61, 0xeb6292594583ca63},
    {4, CN_BICUBIC, 512, 512, 0xf1681d690e980ff1},
    {4, CN_BICUBIC, 48, 30, 0xe39222bb7e658b88},
    {4, CN_BICUBIC, 1, 1, 0x495bfd5b0423e125},
    {4, CN_BICUBIC, 13, 200, 0x94781ab29efd1ca8},
    {4, CN_BICUBIC, 300, 7, 0x9bc42c61e1b9d337},
    {4, CN_BICUBIC, 97, 40, 0x28751d557e089c38},
    {4, CN_BICUBIC, 64, 61, 0x5e0da5d2535d1e69},
    {4, CN_BICUBIC, 96, 60, 0x93a03d51c50b3c96},
    {4, CN_BICUBIC, 200, 20, 0xf126ce86dfa29fb7},
    {4, CN_BICUBIC, 90, 10, 0xb32919b079660914},
    {4, CN_LANCZOS, 97, 61, 0xeb6292594583ca63},
    {4, CN_LANCZOS, 512, 512, 0x430ed9484ac4aff2},
    {4, CN_LANCZOS, 48, 30, 0x4ebd110512d9718f},
    {4, CN_LANCZOS, 1, 1, 0x820485616dd511b5},
    {4, CN_LANCZOS, 13, 200, 0xb9cd6a4ba1ad5b1f},
    {4, CN_LANCZOS, 300, 7, 0xf5345c0dea5b42a8},
    {4, CN_LANCZOS, 97, 40, 0x66e973630899780d},
    {4, CN_LANCZOS, 64, 61, 0x4eb220c63c717bc2},
    {4, CN_LANCZOS, 96, 60, 0x0de7ac415146f7f6},
    {4, CN_LANCZOS, 200, 20, 0x3d9a3c541507d7db},
    {4, CN_LANCZOS, 90, 10, 0x403587b003e37166},
};

#endif
