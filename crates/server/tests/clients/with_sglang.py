"""The native API of SGLang, over plain HTTP as its documentation shows it: python with_sglang.py http://HOST:PORT"""

import json
import sys

import httpx

from said import call, done, headers

url = sys.argv[1] + "/generate"
text = "The capital of France is"


def ask(name, **body):
    return httpx.post(url, headers=headers(name), json=body).raise_for_status().json()


def counted(answers):
    metas = [answer["meta_info"] for answer in answers]
    return tuple(sum(meta[name] for meta in metas) for name in ("prompt_tokens", "completion_tokens"))


def seen(name, answers, got):
    finish = [answer["meta_info"]["finish_reason"]["type"] for answer in answers]
    call(name, got, "\n".join(answer["text"] for answer in answers), finish, counted(answers))


def stream(name, **body):
    events = []
    with httpx.stream("POST", url, headers=headers(name), json=body | {"stream": True}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                events.append(json.loads(line.removeprefix("data: ")))
    seen(name, events[-1:], events)


answer = ask("generate", text=text, sampling_params={"temperature": 0, "max_new_tokens": 32})
seen("generate", [answer], answer)
answer = ask("generate-ids", input_ids=[791, 6864], sampling_params={"max_new_tokens": 2})
seen("generate-ids", [answer], answer)
answers = ask("generate-batch", text=[text, "1 2 3"], sampling_params={"max_new_tokens": 2})
seen("generate-batch", answers, answers)
answer = ask("generate-logprobs", text=text, return_logprob=True, top_logprobs_num=2, return_text_in_logprobs=True)
seen("generate-logprobs", [answer], answer)
stream("generate-stream", text=text, sampling_params={"temperature": 0.7, "max_new_tokens": 32})
stream("generate-stream-logprobs", text=text, return_logprob=True, top_logprobs_num=2, return_text_in_logprobs=True)
done()
