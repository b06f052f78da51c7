"""A gRPC server that tells what it was called with, over HTTP/2 in clear text and over TLS."""

import json
import threading
from concurrent import futures

import grpc

SERVICES = ["echo.Echo", "secured.Echo", "admin.Echo"]


class Server:
    def __init__(self, pki):
        self.cancelled, self.waiting = threading.Event(), threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
        }
        for service in SERVICES:
            self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
        credentials = grpc.ssl_server_credentials([(pki.calls[1].read_bytes(), pki.calls[0].read_bytes())])
        self.url = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.secure_url = f"https://127.0.0.1:{self.server.add_secure_port('127.0.0.1:0', credentials)}"
        self.server.start()

    def unary(self, message, context):
        """What was sent, with all metadata in the metadata that trail."""
        metadata = [[key, value] for key, value in context.invocation_metadata() if isinstance(value, str)]
        context.send_initial_metadata([("x-initial", "first")])
        context.set_trailing_metadata([
            ("x-metadata", json.dumps(metadata)), ("x-remaining", str(context.time_remaining())),
            ("x-bytes-bin", dict(context.invocation_metadata()).get("x-bytes-bin", b"")),
        ])
        return message

    def down(self, message, context):
        context.set_trailing_metadata([("x-last", "said")])
        for number in range(int(message)):
            yield str(number).encode()

    def up(self, messages, context):
        count = size = 0
        for message in messages:
            count, size = count + 1, size + len(message)
        return f"{count} {size}".encode()

    def both(self, messages, context):
        for message in messages:
            yield b"echo " + message

    def fail(self, message, context):
        context.set_trailing_metadata([("x-why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "said ü %")

    def wait(self, message, context):
        """Says one thing, and then nothing until it is told that nobody listens."""
        over = threading.Event()
        context.add_callback(over.set)
        yield b"waiting"
        self.waiting.set()
        if over.wait(60):
            self.cancelled.set()

    def stop(self):
        self.server.stop(grace=None).wait()
