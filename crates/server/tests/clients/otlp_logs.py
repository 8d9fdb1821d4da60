"""A small receiver of OTLP logs over HTTP, for tests: it parses what comes with opentelemetry-proto, as a collector does, and
writes each log record to a file, one JSON object a line.

    otlp_logs.py PORT OUT PLAN

PLAN is a JSON file that is read with every request and says how to answer:
    {"status": 503, "retry_after": 1, "message": "…"}   to everything
    {"max": 20000}                                      413 to bodies larger than this, unpacked
    {"refuse": [3]}                                     400 to requests with one of these leaves
    {"lose": [3]}                                       200, but these leaves are rejected (partial success)
"""

import gzip
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: value(pair.value) for pair in any_value.kvlist_value.values}
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def records(request):
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield {
                    "resource": attributes(resource_logs.resource.attributes),
                    "scope": scope_logs.scope.name,
                    "event_name": record.event_name,
                    "time": record.time_unix_nano,
                    "observed": record.observed_time_unix_nano,
                    "severity": record.severity_number,
                    "severity_text": record.severity_text,
                    "trace_id": record.trace_id.hex(),
                    "span_id": record.span_id.hex(),
                    "body": value(record.body),
                    "attributes": attributes(record.attributes),
                }


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportLogsServiceRequest()
        request.ParseFromString(body)
        with open(PLAN) as file:
            plan = json.load(file)
        got = list(records(request))
        leaves = {record["attributes"]["onrecord.leaf_index"] for record in got}
        if plan.get("authorization") not in (None, self.headers.get("authorization")):
            return self.answer(401, b"who are you?")
        if "status" in plan:
            return self.answer(plan["status"], plan.get("message", "").encode(), plan.get("retry_after"))
        if len(body) > plan.get("max", len(body)):
            return self.answer(413, b"too large")
        if leaves & set(plan.get("refuse", [])):
            return self.answer(400, b"malformed")
        lost = leaves & set(plan.get("lose", []))
        with open(OUT, "a") as file:
            for record in got:
                if record["attributes"]["onrecord.leaf_index"] not in lost:
                    record["headers"] = {"content-type": self.headers["content-type"], "user-agent": self.headers["user-agent"]}
                    file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        response = ExportLogsServiceResponse()
        if lost:
            response.partial_success.rejected_log_records = len(lost)
            response.partial_success.error_message = "the attributes are too many"
        self.answer(200, response.SerializeToString())

    def answer(self, status, body, retry_after=None):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf" if status == 200 else "text/plain")
        self.send_header("content-length", str(len(body)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    OUT, PLAN = sys.argv[2:]
    server = Server(("127.0.0.1", int(sys.argv[1])), Receiver)
    print("ready", flush=True)
    server.serve_forever()
