"""Who is refused, what is refused, and how it ends: asked by hand, of a real process."""

from __future__ import annotations

import json
import re
import signal
import threading
from pathlib import Path

import httpx
import pytest
from served import EVERYWHERE, SYSTEM, Served

from sealora_client.cli import cli
from sealora_common.errors import SealoraError

from tiny_federation import typed


def said_by(answer: httpx.Response) -> str:
    return answer.json()["choices"][0]["message"]["content"]


def test_the_recipe_s_system_prompt_is_there_whether_or_not_it_is_sent(served):
    first = served.chat(("user", "What is 3?"), max_tokens=12)
    again = served.chat(("system", SYSTEM), ("user", "What is 3?"), max_tokens=12)
    assert said_by(first) == said_by(again)
    assert first.json()["usage"] == again.json()["usage"]
    other = served.chat(("system", "Be rude."), ("user", "What is 3?"))
    assert other.status_code == 400
    assert "was trained with the system prompt of its recipe" in other.json()["error"]["message"]


def test_earlier_turns_count(served):
    before = [("user", "What is 2?"), ("assistant", "Two.")]
    asked = [served.chat(*earlier, ("user", "What is 3?"), max_tokens=12).json() for earlier in ([], before)]
    assert asked[0]["usage"]["prompt_tokens"] < asked[1]["usage"]["prompt_tokens"]
    assert asked[0]["choices"] != asked[1]["choices"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "n: 2 will not do"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs: True will not do"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"presence_penalty": 0.5}, "presence_penalty: 0.5 will not do"),
        ({"temperature": -1}, "temperature: -1 will not do"),
        ({"max_tokens": 0}, "max_tokens: 0 will not do"),
        ({"chat_template": "{{ 1 }}"}, "chat_template: unknown key"),
        ({"generation_config": "{}"}, "generation_config: unknown key"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Well."}]}, "by turns"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}, "by turns"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": "fever " * 200}]},
            "tokens are asked, and data.max_tokens of the recipe is 64",
        ),
        ({"messages": [{"role": "user", "content": "a b" * 10**6}]}, "3000000 letters are asked, more than 64 tokens"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "change the text"),
        ({"model": None}, "model"),
    ],
)
def test_what_is_not_done_is_refused_and_not_passed_over(served, fields, said):
    refused = served.post("/chat/completions", **{"messages": [{"role": "user", "content": "hello"}], **fields})
    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
    assert "\n" not in refused.json()["error"]["message"]


def test_fields_that_change_nothing_are_taken(served):
    neutral = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "user": "me", "tools": []}
    neutral |= {"response_format": {"type": "text"}, "stream": False, "seed": None, "tool_choice": "auto"}
    assert served.chat(("user", "hello"), max_tokens=2, **neutral).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b'{"model": "a", "model": "b"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * (4 * 2**20 + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_none_or_too_large_is_refused(served, body, kind, status):
    refused = httpx.post(f"{served.url}/chat/completions", content=body, headers={"Content-Type": kind})
    assert refused.status_code == status
    assert refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8000"}, 421),
        ({"Host": "localhost:99999999"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "LOCALHOST.:1"}, 200),
    ],
)
def test_pages_of_a_browser_are_not_answered_nor_names_that_are_not_known(served, headers, status):
    assert httpx.get(f"{served.url}/models", headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/load_model", "/reset", "/v1/responses", "/docs", "/v1/audio/transcriptions"])
def test_no_other_path_is_there(served, path):
    root = served.url.removesuffix("/v1")
    for answer in (httpx.get(root + path), httpx.post(root + path, json={})):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"


def test_whoever_asks_must_know_the_token_and_it_is_said_that_texts_go_unencrypted(kept, tmp_path):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    words = ("--token-file", str(file), "--host", EVERYWHERE, "--name", "model.ward.example")
    with Served(kept, *words, "--tokens", "3", "--grace", "0") as served:
        assert "can be reached from other machines, and the token and all texts go unencrypted" in served.said
        served.url = served.url.replace(EVERYWHERE, "127.0.0.1")
        for headers in ({}, {"Authorization": "Bearer 0123456789abcdeF"}, {"Authorization": "Bearer"}):
            assert httpx.get(f"{served.url}/models", headers=headers).status_code == 401
        known = {"Authorization": "Bearer 0123456789abcdef"}
        assert httpx.get(f"{served.url}/models", headers=known).status_code == 200
        named = {**known, "Host": "Model.ward.example:8000"}
        assert httpx.get(f"{served.url}/models", headers=named).status_code == 200
        short = served.chat(("user", "hello"), max_tokens=50, headers=known).json()
        assert short["usage"]["completion_tokens"] <= 3
        assert served.stop(signal.SIGINT) == 0  # Ctrl-C is no error
        assert "Traceback" not in served.said
        assert "0123456789abcdef" not in served.said


@pytest.mark.slow
def test_an_answer_in_hand_is_ended_before_the_server_is(kept):
    with Served(kept) as served:
        body = {"model": served.model, "messages": [{"role": "user", "content": "What is 3?"}]}
        body |= {"stream": True, "max_tokens": 400, "temperature": 1.5}
        with httpx.stream("POST", f"{served.url}/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            served.process.send_signal(signal.SIGTERM)
            told = [line for line in lines if line]
        assert told[-1] == "data: [DONE]"
        assert json.loads(told[-2].removeprefix("data: "))["choices"][0]["finish_reason"] in ("stop", "length")
        assert served.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
        assert "Traceback" not in served.said


@pytest.mark.slow
def test_an_answer_that_takes_longer_than_the_grace_is_cut_off_in_silence(kept):
    with Served(kept, "--grace", "0") as served:
        body = {"model": served.model, "prompt": "What is 3?", "stream": True, "max_tokens": 450, "temperature": 3}
        with httpx.stream("POST", f"{served.url}/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            served.process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        served.stop(signal.SIGTERM)
        assert served.said.splitlines()[-1].startswith("model ")


def test_a_client_that_goes_away_does_not_hold_the_model(served):
    body = {"model": served.model, "messages": [{"role": "user", "content": "What is 3?"}], "max_tokens": 1024}
    for stream in (True, False):
        asking = threading.Thread(target=_give_up, args=(served, {**body, "stream": stream}))
        asking.start()
        asking.join()
    assert served.chat(("user", "hello"), max_tokens=2).status_code == 200


def _give_up(served: Served, body: dict[str, object]) -> None:
    with (
        pytest.raises(httpx.TimeoutException),
        httpx.stream("POST", f"{served.url}/chat/completions", json=body, timeout=0.001) as stream,
    ):
        stream.read()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "192.0.2.1"], "192.0.2.1:0: cannot listen there"),
        (["--host", "no such host"], "cannot listen there"),
        (["--token-file", "{tmp}/none"], "the token cannot be read (No such file or directory)"),
        (["--token-file", "{tmp}/open"], "other accounts can read the token: chmod 600 it"),
        (["--token-file", "{tmp}/short"], "holds no token: write one line"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(kept: Path, tmp_path: Path, words: list[str], said: str):
    for name, content, mode in (("open", "x" * 32, 0o644), ("short", "secret", 0o600)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    shown = [word.format(tmp=tmp_path) for word in words]
    with pytest.raises(SealoraError, match=re.escape(said)):
        typed(cli, "serve", kept, "--port", "0", *shown)
