#include "tally.h"

void tally_print(FILE *out, struct tally counted)
{
    fprintf(out, "%zu lines, %zu words, %zu bytes, longest line %zu\n", counted.lines, counted.words,
            counted.bytes, counted.longest);
}
