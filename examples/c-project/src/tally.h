#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>
#include <stdio.h>

/* Lines, words and bytes of a text, and its longest line in bytes. */
struct tally {
    size_t lines, words, bytes, longest;
};

struct tally tally_of(FILE *text);
void tally_print(FILE *out, struct tally counted);

#endif
