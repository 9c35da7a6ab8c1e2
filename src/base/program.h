/* Where the programs lie that this one starts. Any thread. */
#ifndef CN_BASE_PROGRAM_H
#define CN_BASE_PROGRAM_H

/* The path of the program of that name: beside this one (a build tree, a prefix), else the
 * installed one. The caller frees it. */
char *cn_program_path(const char *name);

#endif
