# What all scripts share. Names begin with ar_, so that no variable of a program is mistaken for one of them.

# Where something can be written that belongs neither to the workspace nor to the home.
ar_state=
for ar_dir in /var/lib/agent-runtime /tmp/.agent-runtime; do
    if mkdir -p "$ar_dir" 2>/dev/null && [ -w "$ar_dir" ]; then
        ar_state=$ar_dir
        break
    fi
done

# The processes that carry a mark in their environment: what a program started keeps it, unless it clears its own.
ar_marked() {
    for ar_file in $(grep -lsF "AGENT_RUNTIME_EXEC=$1" /proc/[0-9]*/environ 2>/dev/null); do
        ar_file=${ar_file#/proc/}
        echo "${ar_file%/environ}"
    done
}

# Kills a group, if one is named, and all that carry the mark; what is forked meanwhile is found in the next round.
ar_kill() {
    [ -z "$2" ] || kill -s KILL -- "-$2" 2>/dev/null
    for ar_round in 1 2 3 4 5 6 7 8 9 10; do
        ar_left=$(ar_marked "$1")
        [ -n "$ar_left" ] || return 0
        for ar_pid in $ar_left; do
            kill -s KILL "$ar_pid" 2>/dev/null
        done
    done
}
