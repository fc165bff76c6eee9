"""Pages from templates: what others wrote is text on them, and text that can be shown."""

from __future__ import annotations

from shown import TOKEN, ShownApp
from starlette.testclient import TestClient


def test_what_others_wrote_is_escaped_and_says_nothing_to_terminals_or_about_direction():
    shown = ShownApp(name="<i>\u202egpj.exe", said="a\x1b[2J\u200b & 'b'")
    client = TestClient(shown.app("testserver"))
    client.post("/login", data={"token": TOKEN}, headers={"Origin": "http://testserver"})
    text = client.get("/").text
    assert "&lt;i&gt; gpj.exe" in text
    assert "a [2J  &amp; &#39;b&#39;" in text
    assert not set(text) & {"\u202e", "\x1b", "\u200b"}
