"""Judgements of answers as log events, sent by the SDK of OpenTelemetry:

python with_otel_logs.py http|grpc ENDPOINT GATEWAY

Asks the model behind GATEWAY within a span, then judges the answer: by the id of the answer, by the span, in a batch with a line of a log, and
alone with what is never taken. Prints what was judged.
"""

import json
import logging
import sys
import time

import openai
from opentelemetry import context, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

protocol, endpoint, gateway = sys.argv[1:]
logging.basicConfig(level=logging.WARNING)
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporters = OTLPLogExporter(endpoint=endpoint, insecure=True), OTLPSpanExporter(endpoint=endpoint, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporters = OTLPLogExporter(endpoint=endpoint + "/v1/logs"), OTLPSpanExporter(endpoint=endpoint + "/v1/traces")
resource = Resource.create({"service.name": "judge"})
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(exporters[0], schedule_delay_millis=60_000))
logger = logs.get_logger("evaluator", "1.2")
spans = TracerProvider(resource=resource)
spans.add_span_processor(SimpleSpanProcessor(exporters[1]))
tracer = spans.get_tracer("shop")


def emit(name, around=None, **attributes):
    record = LogRecord(
        timestamp=time.time_ns(),
        context=around or context.Context(),
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        event_name=name,
        attributes=attributes,
    )
    logger.emit(record)


def judge(name, score, around=None, **more):
    verdict = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score}
    verdict |= {"gen_ai.evaluation.score.label": "poor" if score < 0.5 else "good"}
    verdict |= {"gen_ai.evaluation.explanation": f"Because of {name}."}
    emit("gen_ai.evaluation.result", around, **verdict, **more)


client = openai.OpenAI(base_url=gateway + "/v1", api_key="sk-none", max_retries=0)
with tracer.start_as_current_span("ask") as span:
    around = trace.set_span_in_context(span, context.Context())
    headers = {}
    TraceContextTextMapPropagator().inject(headers)
    question = [{"role": "user", "content": "How do I read a file?"}]
    answer = client.chat.completions.create(
        model="tiny-pydoc", messages=question, max_tokens=4, extra_headers=headers
    )
with tracer.start_as_current_span("search") as other:
    elsewhere = trace.set_span_in_context(other, context.Context())
judge("by-id", 0.25, **{"gen_ai.response.id": answer.id, "app.rubric": "v2"})
judge("by-span", 0.75, around)
judge("of-a-step", 1.0, elsewhere)
emit("app.started")
logs.force_flush()
emit("gen_ai.client.inference.operation.details", around)
logs.force_flush()
logs.shutdown()
spans.shutdown()
print(json.dumps({"answer": answer.id, "trace": f"{span.get_span_context().trace_id:032x}"}))
