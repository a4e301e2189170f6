"""Has this project's provider for Modal do all it does, writes down what it sends, and compares that with what the official SDKs
were seen to send: the calls there are and their order, and of each call its fields, its metadata and its deadline, names and
values.

    provider.py AGENT_RUNTIME

The provider does other things than the SDKs' scenario, so each of its calls is held against the golden call of its name that it
is most like; ids count by the answer that they came from (traces.py), order counts where it means something (order.py). Known
differences stand in provider.json with their reasons; one that is not there fails, and so does one that is there and is not
seen any more, unless its reason says that it is so sometimes. A star stands for anything.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import order
import traces

# Each walk of tests/sandbox/golden.rs, and what it is compared with. The calls that lead to a sandbox come in the order of the
# first one, and what a server does that takes over in that of the second.
WALKS = {
    "the_walk": ["js0111-v2", "py164-v2-reattach", "py164-v2"],
    "the_walk_with_a_gpu": ["js0111-gpu", "py164-gpu", "js0111-v1", "py164-v1"],
}
KNOWN = HERE / "provider.json"

# How much more a field says of what a call is for than others do.
WEIGHTS = {"file_descriptor": 10, "eof": 10, "timeout": 10}


def weight(line):
    return 100 if "<" in line else WEIGHTS.get(traces.last(line.partition(": ")[0]), 1)


def held_against(golden, call):
    """What differs between two calls, a line each."""
    for field in sorted(golden.keys() | call.keys()):
        theirs, ours = golden.get(field), call.get(field)
        if theirs is None:
            yield f"{field}: only here: {', '.join(ours)}"
        elif ours is None:
            yield f"{field}: only golden: {', '.join(theirs)}"
        elif theirs != ours:
            yield f"{field}: golden {', '.join(theirs)}; here {', '.join(ours)}"


def nearest(golden, said):
    """What differs from what it is most like."""
    return min((list(held_against(one, said)) for one in golden), key=lambda lines: sum(map(weight, lines)))


def differences(golden, ours):
    """What differs between calls and those of their name that they are most like, and between the metadata of their kinds."""
    by_name, by_kind, found = {}, {}, set()
    for call in golden:
        by_name.setdefault(call.name, []).append(call.said)
        by_kind.setdefault(call.kind, []).append(call.metadata)
    for call in ours:
        found |= {f"metadata of {call.kind} calls: {line}" for line in nearest(by_kind[call.kind], call.metadata)}
        theirs = by_name.get(call.name)
        if theirs:
            found |= {f"{call.name}: {line}" for line in nearest(theirs, call.said)}
        else:
            found.add(f"{call.name}: only here")
    made = {call.name for call in ours}
    return found | {f"{name}: only golden" for name in by_name if name not in made}


def chains(golden, ours):
    """The calls that lead to a sandbox come in the golden order, but for those that only one side makes."""
    theirs, own = order.chain(golden), order.chain(ours)
    both = set(theirs) & set(own)
    theirs, own = ([name for name in names if name in both] for names in (theirs, own))
    if theirs != own:
        yield f"order of the beginning: golden {' '.join(theirs)}; here {' '.join(own)}"


def compared(walk, path, goldens):
    """The differences of one walk, and how many calls it had."""
    golden = {}
    for name in goldens:
        golden[name], strays = traces.calls(traces.read(HERE / "golden" / f"{name}.jsonl"))
        assert not strays, (name, strays)
        assert not list(order.program_order(golden[name])), name
    clients = [traces.calls(events) for events in traces.clients(traces.read(path))]
    everything = [call for calls, _ in clients for call in calls]
    found = differences([call for calls in golden.values() for call in calls], everything)
    for (calls, strays), name in zip(clients, goldens):
        found |= strays
        found |= set(chains(golden[name], calls))
    for calls, _ in clients:
        found |= set(order.program_order(calls))
        for groups, what in ((order.programs, "a program"), (order.sandboxes, "a sandbox")):
            theirs = [group for all_calls in golden.values() for group in groups(all_calls)]
            found |= set(order.broken(theirs, groups(calls), what))
    return found, len(everything)


def pattern(entry):
    return re.compile(re.escape(entry).replace(r"\*", ".*"), re.DOTALL)


def walk(program, test, path):
    """Runs one of the provider's walks behind the proxy."""
    emulator = subprocess.Popen([program, "modal-emulator"], stdout=subprocess.PIPE, text=True)
    try:
        exports = (emulator.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(3))
        env = {**os.environ, **dict(exports)}
        command = [sys.executable, str(HERE / "proxy.py"), env["MODAL_SERVER_URL"], str(path)]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            env["MODAL_SERVER_URL"] = f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
            run = ["cargo", "test", "--locked", "--quiet", "--test", "sandbox", "--", "--exact", f"golden::{test}"]
            done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0 or "1 passed" not in done.stdout:
                sys.exit(f"the walk failed:\n{done.stdout}{done.stderr}")
            # What passes last is written down first.
            time.sleep(0.3)
        finally:
            proxy.terminate()
            proxy.wait()
            proxy.stdout.close()
    finally:
        emulator.terminate()
        emulator.wait()
        emulator.stdout.close()


def main():
    reasons = json.loads(KNOWN.read_text(encoding="utf-8"))
    known = {entry: pattern(entry) for entry in reasons}
    unknown, seen, counts = [], set(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, goldens in WALKS.items():
            path = pathlib.Path(folder) / f"{name}.jsonl"
            walk(sys.argv[1], name, path)
            found, count = compared(name, path, goldens)
            counts.append(f"{count} calls of {name}")
            for line in sorted(found):
                entries = [entry for entry, it in known.items() if it.fullmatch(line)]
                seen |= set(entries)
                if not entries:
                    unknown.append(f"{name}: {line}")
    stale = [entry for entry in known if entry not in seen and not reasons[entry].startswith("sometimes: ")]
    for line in unknown:
        print(f"  not explained: {line}")
    for entry in stale:
        print(f"  provider.json says, and it is not so any more: {entry}")
    print(f"{' and '.join(counts)} compared with golden traces, {len(seen)} known differences, {len(unknown)} new ones")
    sys.exit(1 if unknown or stale else 0)


if __name__ == "__main__":
    main()
