/* Names of models and embeddings. Any thread. */
#ifndef CN_RUNTIME_FILE_NAME_H
#define CN_RUNTIME_FILE_NAME_H

/* models/sd15, models/sd15.safetensors and models/sd15.ckpt are all "sd15": valid UTF-8 without
 * control characters, of less than CN_MODEL_NAME bytes, whatever the file's name is made of. free()
 * it. */
char *cn_file_name(const char *path);

/* A name that everybody can say, for a file's name of any bytes: only the escapes can make one
 * longer than CN_MODEL_NAME; it is cut then, and digits of a checksum keep it apart from others. */
char *cn_printable_name(const char *name);

#endif
