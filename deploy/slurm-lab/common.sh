# What "up", "down" and "signal" share: which processes are this lab's own. Sourced, never run.
# shellcheck shell=bash

lab_dir() { # [DIR]: the directory's full name; .slurm-lab at the top of the repository by default
    realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../../.slurm-lab}"
}

# A process is ours when our pid file names it, its program is the right one and it carries our configuration in its
# environment: a pid file left over from before a reboot then never points at somebody else's process.
pid_of() { # DAEMON: pid of the running daemon (a zombie runs no more), else fails
    local pid program
    pid=$(cat "$DIR/pid/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    program=$(basename "$program")
    [ "${program%-wlm}" = "${1%%.*}" ] && ours "/proc/$pid/environ" >/dev/null && echo "$pid"
}

ours() { # ENVIRON…: those of processes that were started with this lab's configuration
    grep -lzxF -- "SLURM_CONF=$DIR/slurm.conf" "$@" 2>/dev/null
}

wait_for() { # SECONDS COMMAND…: until the command succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}
