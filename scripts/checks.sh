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
each() {
    local name began status failed=0
    for name in "$@"; do
        began=$SECONDS
        echo "-- $name"
        # In a shell of its own: what fails there ends it, and the others still run.
        set +e
        (set -e; "check_$name")
        status=$?
        set -e
        if [ "$status" = 0 ]; then
            echo "-- $name: $((SECONDS - began)) s"
        else
            echo "-- $name FAILED after $((SECONDS - began)) s"
            failed=1
        fi
    done
    return "$failed"
}
