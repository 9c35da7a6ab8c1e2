/* Names of models and embeddings. Any thread. */
#ifndef CN_RUNTIME_FILE_NAME_H
#define CN_RUNTIME_FILE_NAME_H

/* models/sd15, models/sd15.safetensors and models/sd15.ckpt are all "sd15": valid UTF-8 without
 * control characters, of less than CN_MODEL_NAME bytes, whatever the file's name is made of. free()
 * it. */
char *cn_file_name(const char *path);

/* The k-th of the names that a model may have, the shortest first; NULL after the last. free() it.
 * For sd15.ckpt in the folder "a" they are sd15, sd15.ckpt, a--sd15, a--sd15.ckpt; folder may be
 * "". */
char *cn_model_name(const char *folder, const char *name, int k);

/* A name that everybody can say, for a file's name of any bytes: only the escapes can make one
 * longer than CN_MODEL_NAME; it is cut then, and digits of a checksum keep it apart from others. */
char *cn_printable_name(const char *name);

#endif
