#!/usr/bin/env bash
# A real agent in a real sandbox writes a program and runs it. Then three processes that saw the session in three ways
# must hold the same state, byte for byte: one that watched live across a kill -9 of the server, one whose connection was
# cut inside a run of text deltas, and one that came only after the restart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d /tmp/ard.XXXXXX)
server='' watcher='' model=''
proven=()

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || bold() { printf '\n%s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    for log in serve watch model; do
        if [ -s "$work/$log.log" ]; then
            printf -- '--- the end of %s.log\n' "$log" >&2
            tail -n 20 "$work/$log.log" >&2
        fi
    done
    exit 1
}

# Ends one process of ours: asks, waits, insists.
end() {
    local pid=$1
    [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null || return 0
    kill -TERM "$pid" 2> /dev/null || true
    for _ in $(seq 100); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
}

left() { LEFTOVERS_OF=$work bash scripts/leftovers.sh; }

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    end "$watcher"
    end "$server"
    end "$model"
    # Only reached by what escaped the above; the directory is ours alone, and so is what has to do with it.
    left | while read -r pid _; do kill -KILL "$pid" 2> /dev/null || true; done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until a file has a line that begins so, and prints the line.
await() {
    local file=$1 start=$2 pid=$3
    for _ in $(seq 300); do
        if grep -m1 "^$start" "$file" 2> /dev/null; then return 0; fi
        kill -0 "$pid" 2> /dev/null || return 1
        sleep 0.1
    done
    return 1
}

serve() {
    : > "$work/serve.out"
    "$bin" serve --listen "$1" --data "$work/data" --on-shutdown stop > "$work/serve.out" 2>> "$work/serve.log" &
    server=$!
    local line
    line=$(await "$work/serve.out" 'listening on ' "$server") || fail "the server does not start"
    addr=${line#listening on }
}

bold "Building"
cargo build --release --locked
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
bin=$target/release/agent-runtime

bold "Installing the agent"
mkdir -p "$target/test-cache"
claude=$("$bin" agents install claude-code --cache "$target/test-cache" | tail -n 1) || fail "Claude Code cannot be installed; is the npm registry reachable?"
export AGENT_RUNTIME_CLAUDE_CODE=$claude
note "$claude"

if [ -n "${ANTHROPIC_API_KEY:-}" ]; then
    bold "The model is the real one: ANTHROPIC_API_KEY is set"
else
    bold "The model is a script on loopback: ANTHROPIC_API_KEY is not set"
    "$bin" model-endpoint > "$work/model.out" 2> "$work/model.log" &
    model=$!
    exports=$(await "$work/model.out" 'export ' "$model") || fail "the model endpoint does not start"
    eval "$exports"
    note "$ANTHROPIC_BASE_URL"
fi

bold "Serving"
serve 127.0.0.1:0
note "$addr, data in $work/data"
export AGENT_RUNTIME_ADDR=$addr AGENT_RUNTIME_DATA=$work/data
id=$("$bin" sessions create --name demo) || fail "no session can be created"
note "session $id"
"$bin" watch "$id" --after 0 --state "$work/live.json" > "$work/watch.out" 2> "$work/watch.log" &
watcher=$!

bold "Running"
"$bin" run --session "$id" \
    "Write a shell script hello.sh that adds up the squares of 1 to 100, run it with sh, and tell me what it prints." ||
    fail "the turn did not complete"

bold "Checking what the agent did"
script=$(find "$work/data/sandboxes" -path '*/workspace/hello.sh' -type f | head -n 1)
[ -n "$script" ] || fail "there is no hello.sh in the sandbox's workspace"
note "${script#"$work"/} is there"
"$bin" watch "$id" --after 0 --until-idle --json > "$work/events.jsonl" || fail "the session cannot be read"
grep -E '"block(Start|Complete)":' "$work/events.jsonl" | grep '"toolResult":' | grep 338350 > /dev/null ||
    fail "no tool result holds 338350, which the script prints"
note "the tool's result holds 338350"
proven+=("the agent wrote hello.sh in its sandbox and ran it; the result was streamed and stored")

# The longest run of deltas of one block, and a sequence in the middle of it. Text inside the JSON cannot look like these
# fields, because its quotes are escaped.
cut=$(sed -nE 's/^\{"sequence":"([0-9]+)"(,"firstSequence":"([0-9]+)")?.*"blockDelta":\{"blockId":"([^"]*)".*/\1 \3 \4/p' \
    "$work/events.jsonl" | awk '
    { last = $1; first = NF == 3 ? $2 : $1; block = $NF }
    block != held || first != high + 1 { held = block; low = first }
    { high = last; if (high - low > best) { best = high - low; cut = int((low + high) / 2) } }
    END { if (best) print cut }')
[ -n "$cut" ] || fail "no block came in more than one delta"

bold "kill -9 of the server, and a new one"
# The shell would say that it was killed.
{ kill -KILL "$server" && wait "$server" || true; } 2> /dev/null
serve "$addr"
note "it serves again; the live watcher was not told"

# A new server may record what became of the sandbox: compare when the log is quiet.
bold "Comparing three ways to see the session"
same=''
for _ in 1 2 3 4 5 6 7 8; do
    "$bin" watch "$id" --until-idle --state "$work/late.json" > /dev/null || fail "the session cannot be read after the restart"
    "$bin" watch "$id" --cut-at "$cut" --until-idle --state "$work/resumed.json" > /dev/null || fail "the cut watch did not go on"
    if cmp -s "$work/live.json" "$work/late.json" && cmp -s "$work/resumed.json" "$work/late.json"; then
        same=yes
        break
    fi
    kill -0 "$watcher" 2> /dev/null || fail "the live watcher ended"
    sleep 1
done
for way in live resumed late; do
    note "$(printf '%-8s' "$way") $(cksum < "$work/$way.json")"
done
if [ -z "$same" ]; then
    for way in live resumed; do
        diff <(tr ',' '\n' < "$work/late.json") <(tr ',' '\n' < "$work/$way.json") > "$work/difference" ||
            { echo "--- late and $way differ:" && head -n 20 "$work/difference"; }
    done
    fail "the three states differ"
fi
proven+=("live across kill -9 and restart, cut at event $cut inside a run of deltas, and read after the restart: one state")

bold "Ending"
"$bin" sessions stop "$id" > /dev/null || fail "the session cannot be stopped"
end "$watcher"
watcher=''
kill -TERM "$server"
wait "$server" || fail "the server did not end in order"
server=''
end "$model"
model=''
for _ in $(seq 50); do
    [ -z "$(left)" ] && break
    sleep 0.1
done
[ -z "$(left)" ] || fail "still running: $(left)"
proven+=("nothing is left running")

bold "Proven"
for line in "${proven[@]}"; do printf '  ✓ %s\n' "$line"; done
