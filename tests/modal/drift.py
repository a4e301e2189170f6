"""Compares the part of Modal's API in third_party/modal with the descriptors inside Modal's official Python package.

Every message, field, enum value and call of ours must be theirs, under the same name and number and of the same type. What
they have beyond that is no fault: whatever is not used here is left out. Exits with 1 and names each difference.
"""

import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from modal_proto import api_pb2, task_command_router_pb2

OURS = pathlib.Path(__file__).resolve().parents[2] / "third_party" / "modal"
FILES = ["modal_proto/api.proto", "modal_proto/task_command_router.proto"]


def compiled(root: pathlib.Path) -> list[descriptor_pb2.FileDescriptorProto]:
    """Our files, as protoc understands them."""
    with tempfile.NamedTemporaryFile() as out:
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"--descriptor_set_out={out.name}", *FILES]
        subprocess.run(protoc, check=True, cwd=root)
        return list(descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes()).file)


def official() -> list[descriptor_pb2.FileDescriptorProto]:
    """What the installed package speaks."""
    files = []
    for module in (api_pb2, task_command_router_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return files


def facts(files: list[descriptor_pb2.FileDescriptorProto]) -> dict[str, object]:
    """Everything that matters on the wire, one fact a name."""
    found: dict[str, object] = {}

    def enums(scope: str, values: list[descriptor_pb2.EnumDescriptorProto]) -> None:
        for enum in values:
            for value in enum.value:
                found[f"enum {scope}.{enum.name} {value.number}"] = value.name

    def messages(scope: str, values: list[descriptor_pb2.DescriptorProto]) -> None:
        for message in values:
            name = f"{scope}.{message.name}"
            found[f"message {name}"] = "there"
            maps = {f".{name}.{inner.name}": inner for inner in message.nested_type if inner.options.map_entry}
            for field in message.field:
                kind = field.type_name or Field.Type.Name(field.type)
                if kind in maps:
                    key, value = maps[kind].field
                    kind = f"map of {Field.Type.Name(key.type)} to {value.type_name or Field.Type.Name(value.type)}"
                member = field.HasField("oneof_index") and not field.proto3_optional
                oneof = message.oneof_decl[field.oneof_index].name if member else None
                label = "repeated" if field.label == Field.LABEL_REPEATED else "single"
                found[f"field {name} {field.number}"] = (field.name, kind, label, field.proto3_optional, oneof)
            enums(name, message.enum_type)
            messages(name, [inner for inner in message.nested_type if not inner.options.map_entry])

    for file in files:
        messages(file.package, file.message_type)
        enums(file.package, file.enum_type)
        for service in file.service:
            for call in service.method:
                streams = (call.client_streaming, call.server_streaming)
                found[f"call {file.package}.{service.name}/{call.name}"] = (call.input_type, call.output_type, streams)
    return found


def differences(ours: dict[str, object], theirs: dict[str, object]) -> list[str]:
    """What of ours is not theirs."""
    return [
        f"{name}: here {fact}, officially {theirs.get(name, 'nothing')}"
        for name, fact in ours.items()
        if theirs.get(name) != fact
    ]


def with_a_fault(old: str, new: str) -> int:
    """How many differences are found when some words of ours are others."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for file in FILES:
            text = (OURS / file).read_text()
            (root / file).parent.mkdir(exist_ok=True)
            (root / file).write_text(text.replace(old, new))
        return len(differences(facts(compiled(root)), facts(official())))


def main() -> int:
    ours, theirs = facts(compiled(OURS)), facts(official())
    found = differences(ours, theirs)
    for line in found:
        print(line)
    print(f"{len(ours)} facts of Modal's API compared with its official package, {len(found)} differences")
    # A check that finds nothing is believed only where it finds what is there.
    faults = [
        ("bytes data = 4;", "string data = 4;"),
        ("string sandbox_token = 6;", "string sandbox_token = 7;"),
        ("GENERIC_STATUS_TIMEOUT = 4;", "GENERIC_STATUS_TIMEOUT = 14;"),
        ("returns (stream TaskExecStdioReadResponse)", "returns (TaskExecStdioReadResponse)"),
        ("optional string workdir = 7;", "string workdir = 7;"),
    ]
    missed = [old for old, new in faults if with_a_fault(old, new) == 0]
    for old in missed:
        print(f"a fault at {old!r} was not seen")
    return 1 if found or missed else 0


if __name__ == "__main__":
    sys.exit(main())
