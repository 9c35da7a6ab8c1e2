/* Made by tests/data/image/golden_webui.py. */
#ifndef CN_TEST_IMAGE_GOLDEN_WEBUI_H
#define CN_TEST_IMAGE_GOLDEN_WEBUI_H

#include "base/spec.h"

static const struct {
    enum cn_resize mode;
    int w, h;
    uint64_t hash;
} golden_fit[] = {
    {CN_STRETCH, 64, 64, 0xb0d4fefd5347b15e},
    {CN_STRETCH, 128, 40, 0x0b03aa8a6ddcd670},
    {CN_STRETCH, 40, 128, 0x725fe5e701052533},
    {CN_STRETCH, 97, 61, 0x1eaf911e43a17da2},
    {CN_STRETCH, 200, 56, 0x8ce40595d9d4f6d0},
    {CN_STRETCH, 30, 200, 0x970ccf9f2123d4c6},
    {CN_CROP, 64, 64, 0x58dd73dd1fa19bf3},
    {CN_CROP, 128, 40, 0xcbe973b557ab81f7},
    {CN_CROP, 40, 128, 0x16e99629b737379b},
    {CN_CROP, 97, 61, 0x1eaf911e43a17da2},
    {CN_CROP, 200, 56, 0x78e0b7ae2e7a0441},
    {CN_CROP, 30, 200, 0x88f9df644ea1950d},
    {CN_PAD, 64, 64, 0x69e27d17e89091b4},
    {CN_PAD, 128, 40, 0x85b8d5cea24760a3},
    {CN_PAD, 40, 128, 0xe16718650cb008dc},
    {CN_PAD, 97, 61, 0x1eaf911e43a17da2},
    {CN_PAD, 200, 56, 0xf7a57ef54d0dfa8c},
    {CN_PAD, 30, 200, 0x768605abc61b2047},
};

static const struct {
    double sigma;
    uint64_t mask, filled;
} golden_fill[] = {
    {0, 0x5f377167b94afcbb, 0x9464465cff304a0c},
    {0.5, 0x7d3c851903caaad7, 0x13fe3e6e1def936b},
    {1, 0xaa7445e9fc07a5df, 0xa5051039d330b229},
    {4, 0x63e179e632ae21cb, 0xdef1c1613dd1541d},
    {11.3, 0x040da8f6a5ce5c92, 0x706ceb3c6bcb46ce},
    {64, 0x8792a4ce4abe7e9f, 0x334ffac9a5894815},
};

static const struct {
    int padding, w, h, part[4];
} golden_region[] = {
    {0, 64, 64, {30, 6, 41, 41}},
    {8, 64, 64, {22, 0, 57, 57}},
    {32, 64, 64, {0, 0, 97, 61}},
    {0, 128, 40, {6, 12, 89, 28}},
    {4, 40, 128, {26, 0, 49, 61}},
    {0, 8, 256, {30, 0, 41, 61}},
    {99, 64, 40, {0, 0, 97, 61}},
};

#endif
