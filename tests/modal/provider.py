"""Has this project's provider for Modal do all it does, writes down what it sends, and compares that with what the official SDKs
were seen to send: the calls there are, the fields of each request, and the names of its metadata.

    provider.py AGENT_RUNTIME

The provider does other things in another order than the SDKs' scenario, so each call is compared with all golden calls of its
name. What only the provider says, and what only the SDKs say in all of theirs, is a difference. Known ones stand in
provider.json with their reasons; one that is not there fails, and so does one that is there and is not seen any more.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GOLDEN = ["py164-v2", "py164-v2-reattach", "js0111-v2"]
KNOWN = HERE / "provider.json"

# What a client says of itself and of the library it is: each its own.
CLIENT = {"user-agent", "accept-encoding", "grpc-accept-encoding", "grpc-timeout"}


def paths(value, path=""):
    """The fields of a message that are set; names in maps are values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if path.endswith(("contents", "experimental_options_v2")):
                yield path
            else:
                yield here
                yield from paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, path)


def facts(trace):
    """For each name of a call: what is said in any of its requests, and what is said in all of them."""
    seen = {}
    for line in trace.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        said = {f"field {path}" for request in event["req"] for path in paths(request)}
        said |= {f"metadata {name}" for name in event["metadata"] if name not in CLIENT}
        seen.setdefault(event["rpc"].rsplit("/", 1)[-1], []).append(said)
    return seen


def differences(golden, ours):
    """What differs, a line each."""
    found = set()
    for call, requests in ours.items():
        theirs = golden.get(call)
        if theirs is None:
            found.add(f"{call}: only here")
            continue
        found |= {f"{call}: only here: {one}" for one in set.union(*requests) - set.union(*theirs)}
        found |= {f"{call}: only golden: {one}" for one in set.intersection(*theirs) - set.union(*requests)}
    found |= {f"{call}: only golden" for call in golden if call not in ours}
    return found


def explained(line, known):
    """The entry that explains a difference; one that ends in a star explains all that begin like it."""
    for entry in known:
        if line == entry or (entry.endswith("*") and line.startswith(entry[:-1])):
            return entry
        call, _, rest = entry.partition(": ")
        if call == "*" and line.partition(": ")[2] == rest:
            return entry
    return None


def walk(program, trace):
    """Runs the provider's walk behind the proxy."""
    emulator = subprocess.Popen([program, "modal-emulator"], stdout=subprocess.PIPE, text=True)
    try:
        exports = (emulator.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(3))
        env = {**os.environ, **dict(exports)}
        command = [sys.executable, str(HERE / "proxy.py"), env["MODAL_SERVER_URL"], str(trace)]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            env["MODAL_SERVER_URL"] = f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
            test = ["cargo", "test", "--locked", "--quiet", "--test", "sandbox", "--", "--exact", "golden::the_walk"]
            done = subprocess.run(test, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
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
    golden = {}
    for name in GOLDEN:
        for call, requests in facts(HERE / "golden" / f"{name}.jsonl").items():
            golden.setdefault(call, []).extend(requests)
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "provider.jsonl"
        walk(sys.argv[1], trace)
        ours = facts(trace)
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    found = differences(golden, ours)
    used = {line: explained(line, known) for line in sorted(found)}
    unknown = [line for line, entry in used.items() if entry is None]
    stale = [entry for entry in known if entry not in used.values()]
    for line in unknown:
        print(f"  not explained: {line}")
    for entry in stale:
        print(f"  provider.json says, and it is not so any more: {entry}")
    count = sum(map(len, ours.values()))
    print(f"{count} calls of {len(ours)} kinds compared with golden traces, {len(found)} differences, {len(unknown)} of them new")
    sys.exit(1 if unknown or stale else 0)


if __name__ == "__main__":
    main()
