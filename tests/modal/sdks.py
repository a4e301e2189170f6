"""Drives the official SDKs against the emulator, in both versions of Modal's sandboxes, and compares what they send with what
they were seen to send elsewhere. Then once more where tokens live for seconds and calls fail by chance, which they get over.

    sdks.py AGENT_RUNTIME CACHE [DRIVE_MJS]

CACHE is where Claude Code is installed, which the images ask for. DRIVE_MJS lies beside the JavaScript SDK; without it
only the Python one is driven. Prints what was done, and exits with 1 when anything is not as it should be.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import compare

# Calls that fail before and after they had their effect, streams that are cut, and a server that asks for patience.
FAULTS = ",".join(
    [
        "TaskExecStart=UNAVAILABLE@1%0.2",
        "TaskExecStdioRead=UNAVAILABLE@1%0.3",
        "TaskExecWait=UNAVAILABLE@0%0.3",
        "TaskExecStdinWriteStream=UNAVAILABLE@0%0.2",
        "SandboxWaitV2=UNAVAILABLE@0%0.2",
        "SandboxListV2=RESOURCE_EXHAUSTED+0.2@0*2",
    ]
)
# Longest that anything here may take on a busy machine.
PATIENCE = 300


def environment(lines):
    """What clients need, as the emulator prints it."""
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    # No settings of whoever runs this.
    return {**os.environ, **exports, "MODAL_CONFIG_PATH": os.devnull}


class Proxy:
    """A proxy that writes a trace."""

    def __init__(self, env, trace):
        command = [sys.executable, str(HERE / "proxy.py"), env["MODAL_SERVER_URL"], str(trace)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.env = {**env, "MODAL_SERVER_URL": f"http://127.0.0.1:{self.process.stdout.readline().strip()}"}

    def __enter__(self):
        return self.env

    def __exit__(self, *_):
        # What passes last is written down first.
        time.sleep(0.3)
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def drive(command, env):
    """Runs a driver and returns what it printed; `None` when it failed."""
    began = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    shown = " ".join([pathlib.Path(command[1]).name, *command[2:3], f"V2={env['MODAL_SANDBOX_V2']}"])
    if done.returncode != 0:
        print(f"  {shown} FAILED:\n{done.stdout}{done.stderr}")
        return None
    print(f"  {shown}: {time.monotonic() - began:.1f} s")
    return done.stdout.strip()


class Emulator:
    """An emulator, and what its clients need."""

    def __init__(self, program, cache, *more):
        command = [program, "modal-emulator", "--cache", cache, *more]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "agent_runtime=warn"}
        )

    def __enter__(self):
        return environment([self.process.stdout.readline().strip() for _ in range(3)])

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def check(version, sdks, env, folder):
    """Drives all SDKs in one of the two versions."""
    well = True
    env["MODAL_SANDBOX_V2"] = "1" if version == 2 else "0"
    for sdk, driver in sdks:
        trace = folder / f"{sdk}-v{version}.jsonl"
        with Proxy(env, trace) as proxied:
            printed = drive([*driver, "walk"], proxied)
        well &= printed is not None and compare.check(HERE / "golden" / trace.name, trace, trace.stem)
        if printed and trace.stem == "py164-v2":
            again = folder / f"{trace.stem}-reattach.jsonl"
            with Proxy(env, again) as proxied:
                attached = drive([*driver, "reattach", printed], proxied)
            well &= attached is not None and compare.check(HERE / "golden" / again.name, again, again.stem)
        well &= drive([*driver, "more"], env) is not None
    return well


def check_gpu(sdks, env, folder):
    """What only the first version has: the SDKs know that, whatever version they are told to use."""
    well = True
    env["MODAL_SANDBOX_V2"] = "1"
    for sdk, driver in sdks:
        trace = folder / f"{sdk}-gpu.jsonl"
        with Proxy(env, trace) as proxied:
            done = drive([*driver, "gpu"], proxied)
        well &= done is not None and compare.check(HERE / "golden" / trace.name, trace, trace.stem)
    return well


def main():
    program, cache = sys.argv[1:3]
    sdks = [("py164", [sys.executable, str(HERE / "drive.py")])]
    if len(sys.argv) > 3:
        sdks.append(("js0111", ["node", sys.argv[3]]))
    well = True
    for version in (2, 1):
        # A fresh one each: of an image that is built already nobody waits for the build.
        with Emulator(program, cache) as env, tempfile.TemporaryDirectory() as folder:
            well &= check(version, sdks, env, pathlib.Path(folder))
    with Emulator(program, cache) as env, tempfile.TemporaryDirectory() as folder:
        well &= check_gpu(sdks, env, pathlib.Path(folder))
    print("  with tokens that live for 2 s, and calls that fail:")
    with Emulator(program, cache, "--token-life", "2", "--seed", "5", "--faults", FAULTS) as env:
        env["MODAL_SANDBOX_V2"] = "1"
        for _, driver in sdks:
            well &= drive([*driver, "more"], env) is not None
    sys.exit(0 if well else 1)


main()
