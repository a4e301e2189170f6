"""A trace of proxy.py as calls that can be compared: what is made anew each time says what it is, or which answer it came from.

It must not know what is compared with what.
"""

import base64
import json
import math
import re

ROUTER = "/modal.task_command_router.TaskCommandRouter/"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODY = "00000000-0000-0000-0000-000000000000"

# Fields that hold an id of Modal's, and those of answers that give one.
IDS = {"app_id", "image_id", "sandbox_id", "task_id", "secret_id", "secret_ids"}
GIVEN = {
    "app_id": ["AppGetOrCreate"],
    "image_id": ["ImageGetOrCreate", "TaskSnapshotFilesystem", "SandboxGetExitSnapshot", "SandboxGetExitSnapshotV2"],
    "sandbox_id": ["SandboxCreate", "SandboxCreateV2"],
    "task_id": ["SandboxCreateV2", "SandboxGetTaskId", "SandboxGetTaskIdV2"],
    "secret_id": ["SecretGetOrCreate"],
    "token": ["AuthTokenGet"],
    "sandbox_token": ["SandboxCreateV2"],
    "jwt": ["SandboxCreateV2", "SandboxGetCommandRouterAccess", "TaskGetCommandRouterAccess"],
}
# What belongs to a connection, or is the library's own.
TRANSPORT = {"accept-encoding", "grpc-accept-encoding", "grpc-timeout", "user-agent"}
# Longest value that is compared as it is.
SHOWN = 120


def name_of(event):
    return event["rpc"].rsplit("/", 1)[-1]


def flat(value, path=""):
    """The fields of a message with their values, by path; what is repeated comes in its order."""
    if isinstance(value, dict):
        if not value:
            yield path, value
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from flat(inner, f"{path}[]")
    else:
        yield path, value


def last(path):
    return path.rsplit(".", 1)[-1].rstrip("[]")


class Origins:
    """Which answers gave which ids and tokens."""

    def __init__(self):
        self.givers, self.tasks_of, self.sandbox_of, self.execs = {}, {}, {}, {}
        self.listed = None

    def learn(self, event):
        """What an answer gives, and what belongs together by it."""
        name = name_of(event)
        request = event["req"][0] if event["req"] else {}
        for answer in event["resp"]:
            said = {last(path): value for path, value in flat(answer)}
            for field, calls in GIVEN.items():
                if name in calls and said.get(field):
                    self.givers[said[field]] = f"{name}.{field}"
            sandbox = said.get("sandbox_id") or request.get("sandbox_id")
            if name in GIVEN["task_id"] and said.get("task_id"):
                self.sandbox_of[said["task_id"]] = sandbox
            if name in GIVEN["jwt"] and said.get("jwt"):
                of = sandbox or self.sandbox_of.get(request.get("task_id"))
                self.tasks_of.setdefault(said["jwt"], set()).add(of)
            if name.startswith("SandboxList") and answer.get("sandboxes"):
                self.listed = answer["sandboxes"][-1].get("created_at", 0.0)
        if name == "TaskExecStart":
            self.execs[request.get("exec_id")] = request.get("task_id")

    def of(self, value):
        return f"<{self.givers[value]}>" if value in self.givers else "<kept>"

    def stray(self, event):
        """What goes together in a call and does not belong together."""
        request = next(iter(event["req"]), {})
        request = request.get("start", request)
        task, exec_id = request.get("task_id"), request.get("exec_id")
        if not event["rpc"].startswith(ROUTER):
            return
        sandboxes = self.tasks_of.get(event["metadata"].get("authorization", "").removeprefix("Bearer "), set())
        if task in self.sandbox_of and self.sandbox_of[task] not in sandboxes:
            yield "its token is another sandbox's"
        if exec_id and name_of(event) != "TaskExecStart" and self.execs.get(exec_id, task) != task:
            yield "its program is another sandbox's"


class Call:
    """One call, with all that is comparable of it."""

    def __init__(self, event, origins):
        self.event, self.name, self.begun = event, name_of(event), event["n"]
        # How many calls had begun when it was over.
        self.over = event.get("over")
        self.request = next(iter(event["req"]), {})
        self.exec_id = self.request.get("start", self.request).get("exec_id")
        self.said = {}
        for request in event["req"]:
            for path, value in flat(request):
                self.said.setdefault(path, []).append(self.field(path, value, origins))
        headers = {key: value for key, value in event["metadata"].items() if key not in TRANSPORT}
        self.metadata = {key: [self.header(key, value, origins)] for key, value in headers.items()}
        left = event["timeout_s"]
        if left is not None:
            self.said["deadline"] = [f"{math.ceil(left / 5) * 5} s"]
        status = event["status"]
        # Who reads a stream leaves when they have what they want; whether its end comes first is chance.
        streams = self.name in ("TaskExecStdioRead", "ImageJoinStreaming")
        self.said["status"] = ["OK" if streams and status == "CLIENT_CANCELLED" else status]

    @property
    def kind(self):
        """What calls have the same metadata."""
        if self.event["rpc"].startswith(ROUTER):
            return "router"
        return {"AuthTokenGet": "token", "ImageJoinStreaming": "stream"}.get(self.name, "unary")

    def field(self, path, value, origins):
        field = last(path)
        if field in IDS:
            return origins.of(value)
        if field == "exec_id":
            if value == NOBODY:
                return "<nobody's>"
            if self.name == "TaskExecStart":
                return "<a new one>" if value not in origins.execs else "<started before>"
            return "<TaskExecStart.exec_id>" if value in origins.execs else "<kept>"
        if field == "snapshot_id":
            return "<uuid>" if UUID.fullmatch(value) else value
        if field == "before_timestamp":
            behind = None if origins.listed is None else round(value - origins.listed, 6)
            return "<the last one's>" if behind == 0 else f"<the last one's + {behind}>"
        if field == "data":
            data = base64.b64decode(value)
            return repr(data) if len(data) <= SHOWN else "<bytes>"
        if not isinstance(value, str):
            return json.dumps(value)
        return shown(value)

    def header(self, key, value, origins):
        if key == "authorization":
            return f"Bearer {origins.of(value.removeprefix('Bearer '))}"
        if key in ("x-modal-auth-token", "x-modal-sandbox-token"):
            return origins.of(value)
        if key == "x-modal-token-id":
            return "<ak->" if value.startswith("ak-") else value
        if key == "x-modal-token-secret":
            return "<as->" if value.startswith("as-") else value
        if key == "x-modal-timestamp":
            return "<time>"
        return shown(value)


def shown(value):
    """A text, with what is made anew each time said by its kind."""
    value = UUID.sub("<uuid>", value)
    value = re.sub(r"\b(own|sbx|ses)_[0-9A-Za-z]+", r"<\1>", value)
    value = re.sub(r"\.agent-runtime-[0-9a-f]{16}-\d+", "<aside>", value)
    value = re.sub(r"\b[0-9a-f]{32,64}\b", "<hash>", value)
    return value if len(value) <= SHOWN else "<text>"


def read(path):
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(events, key=lambda event: event["n"])


def clients(events):
    """The events of each client apart, by the token that it was given: a server that takes over has its own."""
    groups, of = {}, {}
    for event in events:
        answers = {last(path): value for answer in event["resp"] for path, value in flat(answer)}
        token = event["metadata"].get("x-modal-auth-token") or answers.get("token")
        bearer = event["metadata"].get("authorization")
        who = of.get(bearer) if bearer else token
        if "jwt" in answers:
            of[f"Bearer {answers['jwt']}"] = who
        groups.setdefault(who, []).append(event)
    return list(groups.values())


def calls(events):
    """The calls of one client in the order they began, and what in them does not belong together."""
    origins, found, strays, keys = Origins(), [], set(), {}
    for event in events:
        call = Call(event, origins)
        found.append(call)
        strays |= {f"{call.name}: {stray}" for stray in origins.stray(event)}
        key = event["metadata"].get("x-idempotency-key")
        if key and event["metadata"].get("x-retry-attempt") == "0" == event["metadata"].get("x-throttle-retry-attempt"):
            if key in keys:
                strays.add(f"{call.name}: its idempotency key is that of {keys[key]}")
            keys[key] = call.name
        origins.learn(event)
    return found, strays
