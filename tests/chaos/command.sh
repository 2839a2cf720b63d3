#!/bin/sh
# The command of every task of the chaos run: NUMBER FOLDER LINES SECONDS CODE...
# It notes its start and its end in files of its own, so that whoever judges qme need not ask qme. Built-ins only: two
# cores have to run ten thousand of these. CODE is one for each attempt; the last one holds for all that follow.
number=$1 folder=$2 lines=$3 seconds=$4
attempt=${QME_TASK_ID##*.}
read -r up _ < /proc/uptime
echo "$QME_UID $attempt $up" >> "$folder/$number.starts"
line=0
while [ "$line" -lt "$lines" ]; do
    line=$((line + 1))
    echo "$number.$attempt line $line"
done
[ "$seconds" = 0 ] || sleep "$seconds"
shift 4
skip=$((attempt - 1))
while [ "$skip" -gt 0 ] && [ $# -gt 1 ]; do
    skip=$((skip - 1))
    shift
done
echo "$number.$attempt ends with $1" >&2
read -r up _ < /proc/uptime
echo "$QME_UID $attempt $up $1" >> "$folder/$number.ends"
exit "$1"
