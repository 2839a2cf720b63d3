#!/bin/sh
#SBATCH --time=5
# A job: how long the program takes for a text of some megabytes. measure.sh LEVEL
set -eu
text=build/O$1/text
awk 'BEGIN { for (n = 0; n < 200000; n++) print "some words in a line", n }' > "$text"
begin=$(date +%s%N)
build/O"$1"/tally "$text" > /dev/null
end=$(date +%s%N)
echo "O$1: $(((end - begin) / 1000000)) ms for $(wc -c < "$text" | tr -d ' ') bytes" > build/O"$1"/measured
