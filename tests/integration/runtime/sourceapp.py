"""A source in one file of standard library: the routes of ogpu.service, and functions that misbehave on request."""

import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
SILENT = {"hold": "holding", "hog": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8.00 GiB"}
"""Functions that print this and send no result."""
FUNCTIONS = ("multiply", "facts", "sibling", "sicken", "busy", "crash", *SILENT)


def openapi() -> bytes:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}}
    paths = {
        f"/run/{name}/{{task_address}}": {"post": {"requestBody": body if name == "multiply" else {}}}
        for name in FUNCTIONS
    }
    return json.dumps({"openapi": "3.1.0", "paths": paths, "components": {"schemas": {"Input": SCHEMA}}}).encode()


def facts(_data: object) -> object:
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    return {
        "environment": dict(os.environ),
        "capabilities": status["CapEff"].strip(),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "init": Path("/proc/1/cmdline").read_text().split("\0")[0],
    }


def sibling(_data: object) -> object:
    with urllib.request.urlopen(f"{os.environ['OLLAMA_HOST']}/openapi.json", timeout=10) as answer:
        return answer.status


def sicken(_data: object) -> object:
    Path("/sick").touch()
    return True


def post(task: str, result: object) -> None:
    url = f"{os.environ['CALLBACK_URL']}/{task}"
    request = urllib.request.Request(url, json.dumps(result).encode(), {"content-type": "application/json"})
    print("callback answered", urllib.request.urlopen(request, timeout=10).status)


class Routes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply(200, openapi())

    def do_POST(self) -> None:
        data = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"null")
        _, _, function, task = self.path.split("/")
        if function == "busy":
            return self.reply(409, b'{"detail": "busy"}')
        if function == "crash":
            os._exit(3)
        if function not in FUNCTIONS:
            return self.reply(404, b"{}")
        if function == "multiply" and not all(isinstance(data.get(name), int) for name in "ab"):
            return self.reply(422, b"{}")
        if function in SILENT:
            print(SILENT[function], flush=True)
            return self.reply(202, json.dumps({"task_address": task, "status": "accepted"}).encode())
        result = {"result": data["a"] * data["b"]} if function == "multiply" else globals()[function](data)
        print("run", function, task)
        threading.Thread(target=post, args=(task, result)).start()
        return self.reply(202, json.dumps({"task_address": task, "status": "accepted"}).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(port: int) -> None:
    ThreadingHTTPServer(("0.0.0.0", port), Routes).serve_forever()


if __name__ == "__main__":
    serve(5555)
