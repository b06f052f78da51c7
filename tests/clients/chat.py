"""A WebSocket server that says everything back, and ends as it is told."""

import contextlib
import threading

from websockets.sync.server import serve


def answer(socket):
    for message in socket:
        if message == "headers":
            socket.send("\n".join(f"{name}: {value}" for name, value in socket.request.headers.raw_items()))
        elif isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            socket.close(int(code), reason)
        else:
            socket.send(message)


def choose(_, offered):
    return next((name for name in offered if name == "chat.v1"), None)


@contextlib.contextmanager
def server():
    with serve(answer, "127.0.0.1", 0, select_subprotocol=choose, max_size=8 << 20) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)
