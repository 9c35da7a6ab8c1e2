/* The character set of tEXt. Any thread. */
#ifndef CN_IMAGE_PNG_TEXT_H
#define CN_IMAGE_PNG_TEXT_H

#include "base/base.h"

/* UTF-8 to Latin-1 into out, which is at least as long; false when the text has characters that PNG
 * does not allow in tEXt. */
bool cn_png_latin1(const char *utf8, char *out);

#endif
