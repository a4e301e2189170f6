"""Compares what a client sent with what the official one was seen to send: calls in their order, the fields and values of each
request, the names of its metadata, whether it had a deadline, and how it ended.

    compare.py GOLDEN TRACE [NAME]

Both are traces of proxy.py. Differences that are known stand in differences.json with their reasons, under NAME (else the name
of the golden file) or under "*"; one that is not there fails, and so does one that is there and is not seen any more.
"""

import json
import pathlib
import sys

KNOWN = pathlib.Path(__file__).with_name("differences.json")

# Made anew each time, so only whether they are there is compared.
FRESH = {
    "app_id",
    "image_id",
    "sandbox_id",
    "task_id",
    "exec_id",
    "snapshot_id",
    "secret_id",
    "secret_ids",
    "before_timestamp",
}
# After a start, whatever follows up to the next one may overlap.
BEGINS = {"TaskExecStart", "TaskSnapshotFilesystem"}
ROUTER = "/modal.task_command_router.TaskCommandRouter/"


def flat(value, path=""):
    """The fields of a message with their values, by path."""
    if isinstance(value, dict):
        if not value:
            yield path, "{}"
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and path.rsplit(".", 1)[-1] not in FRESH:
        for inner in value:
            yield from flat(inner, f"{path}[]")
    else:
        yield path, "*" if path.rsplit(".", 1)[-1].rstrip("[]") in FRESH else json.dumps(value)


def ended(event):
    """How a call ended. Who has the result of a build leaves; whether the end of the stream comes first is chance."""
    left_with_result = event["status"] == "CLIENT_CANCELLED" and "result" in (event["resp"] or [{}])[-1]
    return "OK" if left_with_result else event["status"]


def calls(path):
    """The calls of a trace, in the order they began; those that may overlap, by name."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    events.sort(key=lambda event: event["n"])
    groups = []
    for event in events:
        name = event["rpc"].rsplit("/", 1)[-1]
        alone = not event["rpc"].startswith(ROUTER) or name in BEGINS
        if alone or not groups or groups[-1][0]:
            groups.append((alone, []))
        fields = sorted(pair for request in event["req"] for pair in flat(request))
        call = {
            "fields": [f"{field} = {value}" for field, value in fields],
            "metadata": sorted(event["metadata"]),
            "deadline": [str(event["timeout_s"] is not None)],
            "status": [ended(event)],
        }
        groups[-1][1].append((name, call))
    return [call for _, group in groups for call in sorted(group, key=lambda call: (call[0], call[1]["fields"]))]


def differences(golden, trace):
    """What differs, a line each."""
    theirs, ours = calls(golden), calls(trace)
    names = ([name for name, _ in theirs], [name for name, _ in ours])
    if names[0] != names[1]:
        at = next((i for i, pair in enumerate(zip(*names)) if pair[0] != pair[1]), min(map(len, names)))
        return [f"calls: from {at} on golden has {names[0][at : at + 5]}, and this {names[1][at : at + 5]}"], len(ours)
    found = []
    for (name, golden_call), (_, call) in zip(theirs, ours):
        for what, wanted in golden_call.items():
            missing, more = [x for x in wanted if x not in call[what]], [x for x in call[what] if x not in wanted]
            found += [f"{name}: {what}: only golden: {x}" for x in missing]
            found += [f"{name}: {what}: only here: {x}" for x in more]
    return list(dict.fromkeys(found)), len(ours)


def check(golden, trace, name):
    """Prints what is not known and tells whether all is well."""
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    found, count = differences(golden, trace)
    own, shared = known.get(name, {}), known.get("*", {})
    unknown = [one for one in found if one not in own and one not in shared]
    stale = [one for one in own if one not in found]
    for one in unknown:
        print(f"  {name}: {one}")
    for one in stale:
        print(f"  {name}: differences.json says, and it is not so any more: {one}")
    if not unknown and not stale:
        print(f"  {name}: {count} calls as in {golden.name}, {len(found)} known differences")
    return not unknown and not stale


if __name__ == "__main__":
    golden_path = pathlib.Path(sys.argv[1])
    same = check(golden_path, pathlib.Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else golden_path.stem)
    sys.exit(0 if same else 1)
