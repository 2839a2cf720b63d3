#!/bin/sh
# Compares what the program says about a text with what wc says: case.sh PROGRAM CASE
set -eu
program=$1 text=$(mktemp)
trap 'rm -f "$text"' EXIT
case $2 in
    empty) : > "$text" ;;
    words) printf 'one two\n three\n\nfour' > "$text" ;;
    long) awk 'BEGIN { for (n = 0; n < 100000; n++) printf "x"; print "" }' > "$text" ;;
    source) cat src/*.c src/*.h > "$text" ;;
    *) echo "no case $2" >&2; exit 2 ;;
esac
wanted="$(wc -l < "$text" | tr -d ' ') lines, $(wc -w < "$text" | tr -d ' ') words, $(wc -c < "$text" | tr -d ' ') bytes"
said=$("$program" "$text")
case $said in
    "$wanted, "*) echo "$2: $said" ;;
    *) echo "$2: said '$said', wanted '$wanted'" >&2; exit 1 ;;
esac
