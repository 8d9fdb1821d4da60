#!/usr/bin/env python3
"""Spans a second over OTLP/HTTP: batches of 512 spans of 2 KB, each with an id of its own, from several senders.

    python3 -m venv /tmp/otlp && /tmp/otlp/bin/pip install opentelemetry-proto
    /tmp/otlp/bin/python bench/otlp.py http://127.0.0.1:4318 [--senders 4] [--batches 100]

A receiver is measured by what it has acknowledged. onrecord acknowledges what is durable; look up what another one does.
"""

import argparse
import http.client
import random
import threading
import time
import urllib.parse

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

SPANS = 512
# Stands where the id of a span is filled in.
PLACE = b"ID\x00\xffID\xff\x00"


def messages(role, size, words):
    text = " ".join(random.choices(words, k=size // 9))
    return f'[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]'


def batch():
    words = [f"{random.getrandbits(32):08x}" for _ in range(4000)]
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="bench")))
    scope = resource.scope_spans.add()
    for _ in range(SPANS):
        span = scope.spans.add(name="chat m", trace_id=b"T" * 16, span_id=PLACE)
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
        for name, text in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", "m"),
            ("gen_ai.input.messages", messages("user", 900, words)),
            ("gen_ai.output.messages", messages("assistant", 800, words)),
        ]:
            span.attributes.append(KeyValue(key=name, value=AnyValue(string_value=text)))
        for name in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]:
            span.attributes.append(KeyValue(key=name, value=AnyValue(int_value=100)))
    return bytearray(request.SerializeToString())


def send(address, sender, batches, ready):
    body = batch()
    places, at = [], body.find(PLACE)
    while at >= 0:
        places.append(at)
        at = body.find(PLACE, at + 1)
    assert len(places) == SPANS
    connection = http.client.HTTPConnection(address.hostname, address.port)
    number = int(time.time()) << 24
    ready.wait()
    for _ in range(batches):
        for at in places:
            number += 1
            body[at : at + 8] = ((sender << 56) | number).to_bytes(8, "big")
        connection.request("POST", "/v1/traces", bytes(body), {"content-type": "application/x-protobuf"})
        response = connection.getresponse()
        told = response.read()
        assert response.status == 200, (response.status, told)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", type=urllib.parse.urlparse)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--batches", type=int, default=100, help="of each sender")
    args = parser.parse_args()
    ready = threading.Barrier(args.senders + 1)
    senders = [
        threading.Thread(target=send, args=(args.url, number, args.batches, ready)) for number in range(args.senders)
    ]
    for sender in senders:
        sender.start()
    ready.wait()
    begun = time.monotonic()
    for sender in senders:
        sender.join()
    took = time.monotonic() - begun
    spans = SPANS * args.batches * args.senders
    print(f"{spans} spans in {took:.2f} s: {spans / took:.0f} spans/s, {len(batch()) // SPANS} bytes each")


if __name__ == "__main__":
    main()
