#include "tally.h"

int main(int argc, char **argv)
{
    FILE *text = argc > 1 ? fopen(argv[1], "rb") : stdin;

    if (text == NULL) {
        perror(argv[1]);
        return 1;
    }
    tally_print(stdout, tally_of(text));
    return 0;
}
