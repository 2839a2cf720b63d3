#include "tally.h"

#include <ctype.h>

struct tally tally_of(FILE *text)
{
    struct tally counted = {0, 0, 0, 0};
    size_t length = 0;
    int inside = 0, byte;

    while ((byte = getc(text)) != EOF) {
        counted.bytes++;
        if (byte == '\n') {
            counted.lines++;
            length = 0;
        } else if (++length > counted.longest) {
            counted.longest = length;
        }
        if (isspace(byte)) {
            inside = 0;
        } else if (!inside) {
            inside = 1;
            counted.words++;
        }
    }
    return counted;
}
