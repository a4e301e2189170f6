"""In which order calls are made, where that means something: up to the first program in a sandbox, for each program, and for each
sandbox. What runs beside each other is not compared.
"""


def chain(calls):
    """The calls that lead to the first program in a sandbox; the same one or two that follow each other count once."""
    names = []
    for call in calls:
        names.append(call.name)
        for length in (1, 2):
            if names[-length:] == names[-2 * length : -length]:
                del names[-length:]
        if call.name == "TaskExecStart":
            break
    return names


def programs(calls):
    """The calls about each program."""
    found = {}
    for call in calls:
        if call.exec_id:
            found.setdefault(call.exec_id, []).append(call)
    return list(found.values())


def sandboxes(calls):
    """The calls about each sandbox, but for what follows the start of a program."""
    found, of = {}, {}
    for call in calls:
        if call.exec_id and call.name != "TaskExecStart":
            continue
        answers = call.event["resp"] or [{}]
        request = call.request.get("start", call.request)
        sandbox = answers[0].get("sandbox_id") or request.get("sandbox_id") or of.get(request.get("task_id"))
        if answers[0].get("task_id"):
            of[answers[0]["task_id"]] = sandbox
        if sandbox:
            found.setdefault(sandbox, []).append(call)
    return list(found.values())


def label(call):
    """Its name, which tells a question from waiting."""
    return f"{call.name} (held)" if "timeout" in call.request and "Wait" in call.name else call.name


def firsts(calls):
    """Where each name comes first."""
    found = {}
    for at, call in enumerate(calls):
        found.setdefault(label(call), at)
    return found


def rules(groups):
    """Pairs of names of which one came first wherever there were both."""
    came = {}
    for group in groups:
        at = firsts(group)
        for one in at:
            for other in at:
                if one != other:
                    came.setdefault((one, other), set()).add(at[one] < at[other])
    return {pair for pair, ways in came.items() if ways == {True}}


def broken(golden, ours, what):
    """Which orders that hold in all golden groups do not hold in one of ours."""
    kept = rules(golden)
    for group in ours:
        at = firsts(group)
        for one, other in sorted(kept):
            if one in at and other in at and at[one] > at[other]:
                yield f"order of {what}: {other} comes before {one}"


def program_order(calls):
    """What must hold of each program by itself."""
    for group in programs(calls):
        start = next((call for call in group if call.name == "TaskExecStart"), None)
        if start and start.over is not None and any(call.begun <= start.over for call in group if call is not start):
            yield "order of a program: something is asked of it before its start was answered"
        offset, closed = 0, False
        for call in group:
            if call.name != "TaskExecStdinWrite" or call.event["status"] != "OK":
                continue
            if int(call.request.get("offset", 0)) != offset or closed:
                yield "order of a program: its input does not follow what it was given"
            offset += len(call.request.get("data", "")) * 3 // 4 - call.request.get("data", "").count("=")
            closed = call.request.get("eof", False)
