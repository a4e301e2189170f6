"""A proxy between a client of Modal and whoever answers it, which writes down what passes and lets calls fail on purpose.

    proxy.py UPSTREAM TRACE

Prints the port of the control plane, then serves it and a port of its own for the router, without encryption. Every call is
passed on as bytes and decoded with the official descriptors; TRACE gets one JSON object a call. The router's address in
answers becomes the proxy's own. FAULTS="Call=CODE[+RETRY_AFTER]@K*N,..." ends a call with a status after K of its answers,
for its first N calls, with a retry policy of the server's if one is said.
"""

import asyncio
import json
import os
import re
import sys
import time

from google.protobuf import descriptor_pool, json_format, message_factory
from modal_proto import api_pb2, task_command_router_pb2  # noqa: F401  registers the descriptors

import grpc

LIMIT = 100 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", LIMIT),
    ("grpc.max_send_message_length", LIMIT),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
]
# What belongs to one connection, and not to the call.
HOP = {
    "te",
    "content-type",
    "user-agent",
    "grpc-accept-encoding",
    "grpc-encoding",
    "accept-encoding",
    "grpc-timeout",
    "grpc-internal-encoding-request",
}
# Answers that say where the router is.
WITH_ROUTER = {
    "SandboxCreateV2Response",
    "TaskGetCommandRouterAccessResponse",
    "SandboxGetCommandRouterAccessResponse",
}
# A deadline this far away is none.
ENDLESS = 1e6
JAVASCRIPT_AND_GO = ("8", "9")

pool = descriptor_pool.Default()


def classes(path):
    """The messages of a call: its request and its answer."""
    _, service, method = path.split("/")
    try:
        found = pool.FindServiceByName(service).methods_by_name[method]
    except KeyError:
        return None, None
    return message_factory.GetMessageClass(found.input_type), message_factory.GetMessageClass(found.output_type)


def decoded(message, raw):
    if message is None:
        return {"_undecoded_bytes": len(raw)}
    return json_format.MessageToDict(message.FromString(raw), preserving_proto_field_name=True)


class Faults:
    """Calls that are still to fail."""

    def __init__(self, text):
        self.left = {}
        for fault in filter(None, text.split(",")):
            name, code, after_secs, after, times = re.fullmatch(
                r"(\w+)=([A-Z_]+)(?:\+([\d.]+))?@(\d+)\*(\d+)", fault
            ).groups()
            self.left[name] = [code, float(after_secs) if after_secs else None, int(after), int(times)]

    async def strike(self, context, name, sent):
        fault = self.left.get(name)
        if not fault or fault[3] <= 0 or sent != fault[2]:
            return
        fault[3] -= 1
        code = getattr(grpc.StatusCode, fault[0])
        if fault[1] is not None:
            status = api_pb2.RPCStatus(code=code.value[0], message="injected")
            policy = api_pb2.RPCRetryPolicy(retry_after_secs=fault[1])
            status.details.add().Pack(policy, type_url_prefix="type.modal.com/")
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(code, "injected")


class Proxy:
    def __init__(self, upstream, trace, faults):
        self.upstream, self.trace, self.faults = upstream, trace, faults
        self.channels, self.routers, self.count, self.router_port = {}, {}, 0, None

    def channel(self, url):
        if url not in self.channels:
            self.channels[url] = grpc.aio.insecure_channel(url.split("://", 1)[1], options=OPTIONS)
        return self.channels[url]

    def rewritten(self, message, raw, metadata):
        """An answer in which the router is this proxy, with the scheme that the client wants."""
        if message is None or message.DESCRIPTOR.name not in WITH_ROUTER:
            return raw
        answer = message.FromString(raw)
        access = answer if hasattr(answer, "jwt") else answer.command_router_access
        if not access.jwt:
            return raw
        self.routers[access.jwt] = access.url
        https = metadata.get("x-modal-client-type") in JAVASCRIPT_AND_GO
        access.url = f"{'https' if https else 'http'}://127.0.0.1:{self.router_port}"
        return answer.SerializeToString()

    def handler(self, is_router, path, metadata):
        request_class, answer_class = classes(path)
        name = path.split("/")[-1]

        async def handle(requests, context):
            self.count += 1
            left = context.time_remaining()
            deadline = left if left and left < ENDLESS else None
            event = {
                "n": self.count,
                "rpc": path,
                "t": round(time.time(), 3),
                "timeout_s": round(deadline, 2) if deadline else None,
                "metadata": {k: (v if isinstance(v, str) else "<bin>") for k, v in metadata.items()},
                "req": [],
                "resp": [],
            }
            passed_on = [(k, v) for k, v in metadata.items() if not k.startswith(":") and k not in HOP]

            async def pass_on():
                async for request in requests:
                    event["req"].append(decoded(request_class, request))
                    yield request

            bearer = metadata.get("authorization", "")[len("Bearer ") :]
            upstream = self.routers.get(bearer, self.upstream) if is_router else self.upstream
            call = self.channel(upstream).stream_stream(path)(pass_on(), metadata=passed_on, timeout=deadline)
            sent = 0
            try:
                await self.faults.strike(context, name, 0)
                async for answer in call:
                    event["resp"].append(decoded(answer_class, answer))
                    yield answer if is_router else self.rewritten(answer_class, answer, metadata)
                    sent += 1
                    await self.faults.strike(context, name, sent)
                event["status"] = "OK"
            except grpc.aio.AbortError:
                event["status"] = "INJECTED_FAULT"
                call.cancel()
                raise
            except grpc.aio.AioRpcError as error:
                event["status"], event["details"] = error.code().name, error.details()
                # Details of a status, such as a retry policy, are the client's to read.
                context.set_trailing_metadata(
                    [(k, v) for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
                )
                await context.abort(error.code(), error.details())
            finally:
                event.setdefault("status", "CLIENT_CANCELLED")
                event["over"] = self.count
                event["ms"] = round((time.time() - event["t"]) * 1000)
                self.trace.write(json.dumps(event) + "\n")
                self.trace.flush()

        return grpc.stream_stream_rpc_method_handler(handle)

    async def serve(self):
        servers = []
        for is_router in (False, True):
            server = grpc.aio.server(options=OPTIONS)
            server.add_generic_rpc_handlers((Generic(self, is_router),))
            port = server.add_insecure_port("127.0.0.1:0")
            if is_router:
                self.router_port = port
            else:
                control_port = port
            servers.append(server)
        for server in servers:
            await server.start()
        print(control_port, flush=True)
        await asyncio.Event().wait()


class Generic(grpc.GenericRpcHandler):
    """Takes every call there is, or will be."""

    def __init__(self, proxy, is_router):
        self.proxy, self.is_router = proxy, is_router

    def service(self, details):
        return self.proxy.handler(self.is_router, details.method, dict(details.invocation_metadata))


if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        asyncio.run(Proxy(sys.argv[1], out, Faults(os.environ.get("FAULTS", ""))).serve())
