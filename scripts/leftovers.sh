#!/usr/bin/env bash
# Prints every process that has to do with the directory in $LEFTOVERS_OF: started with its path in the arguments or in the
# environment, working in it, or walled into it. Sandboxes hide much of that from themselves, but not from /proc.
#
# It expects a directory nobody else uses, such as a fresh one of mktemp. Without /proc it sees arguments only.
set -euo pipefail
dir=${LEFTOVERS_OF:?name a directory in LEFTOVERS_OF}

candidates() {
    if [ -d /proc/self ]; then
        grep -lsaF -e "$dir" /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/mountinfo || true
        for link in /proc/[0-9]*/cwd /proc/[0-9]*/exe; do
            case "$(readlink "$link" 2> /dev/null || true)" in "$dir"*) echo "$link" ;; esac
        done
    else
        ps -axo pid=,command= | grep -F -e "$dir" | sed -E 's|^ *([0-9]+).*|/proc/\1/|' || true
    fi
}

# This script and what it runs mention the directory as well.
is_ours() {
    local pid=$1
    while [ -n "$pid" ] && [ "$pid" -gt 1 ]; do
        [ "$pid" = "$$" ] && return 0
        pid=$(ps -o ppid= -p "$pid" 2> /dev/null | tr -d ' ' || true)
    done
    return 1
}

candidates | sed -E 's|^/proc/([0-9]+)/.*|\1|' | sort -un | while read -r pid; do
    if ! is_ours "$pid" && kill -0 "$pid" 2> /dev/null; then
        # One that has ended and waits for its parent holds nothing any more.
        case "$(ps -o stat= -p "$pid" 2> /dev/null || true)" in "" | Z*) continue ;; esac
        printf '%s %s\n' "$pid" "$(ps -o args= -p "$pid" 2> /dev/null | cut -c1-160)"
    fi
done
