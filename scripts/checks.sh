# What the scripts that check something in other languages share; they read it in. Functions only.

# has WHAT PROGRAM...: whether all of them are there; else says what is skipped.
has() {
    local what=$1 program ask
    shift
    for program in "$@"; do
        case $program in
            go | openssl) ask=version ;;
            # Debian has this in a package of its own, and no virtual environment without it.
            python3) ask="-m ensurepip --version" ;;
            *) ask=--version ;;
        esac
        # shellcheck disable=SC2086
        if ! "$program" $ask > /dev/null 2>&1; then
            echo "SKIPPED: $what: $program is not installed"
            return 1
        fi
    done
}

# retry COMMAND...: up to three times, for what comes over the network fails now and then.
retry() {
    local pause
    for pause in 3 15; do
        "$@" && return 0
        echo "$1 failed; once more in $pause s" >&2
        sleep "$pause"
    done
    "$@"
}

# python_environment DIRECTORY LOCK: what the lock names, installed there; anew when the lock is another one.
python_environment() {
    local venv=$1 lock=$2
    cmp -s "$lock" "$venv/installed" && return 0
    rm -rf "$venv"
    python3 -m venv "$venv"
    retry "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$lock"
    cp "$lock" "$venv/installed"
}

# each NAME...: runs check_NAME for each, says how it ended and how long it took; fails when one did.
# The end of what failed is printed once more, last: of a long output somebody sees the end.
each() {
    local name began status outputs failed=()
    outputs=$(mktemp -d "${TMPDIR:-/tmp}/art-each.XXXXXX")
    for name in "$@"; do
        began=$SECONDS
        echo "-- $name"
        exec 3> >(tee "$outputs/$name")
        # In a shell of its own: what fails there ends it, and the others still run.
        set +e
        (set -e; "check_$name") >&3 2>&3 3>&-
        status=$?
        set -e
        exec 3>&-
        # What is printed comes in order, but nothing that was left running and holds the pipe is waited for.
        for _ in $(seq 50); do
            kill -0 $! 2> /dev/null || break
            sleep 0.1
        done
        if [ "$status" = 0 ]; then
            echo "-- $name: $((SECONDS - began)) s"
        else
            echo "-- $name FAILED after $((SECONDS - began)) s"
            failed+=("$name")
        fi
    done
    for name in "${failed[@]}"; do
        echo "-- the end of $name, which FAILED:"
        tail -n 25 "$outputs/$name" | cut -c 1-300
    done
    rm -rf "$outputs"
    [ "${#failed[@]}" = 0 ]
}
