"""Forms with files, as browsers send them and as nobody should."""

from __future__ import annotations

import httpx
import pytest

from sealora_server.dashboard.acts.uploads import uploaded_form


def sent(fields, files):
    request = httpx.Request("POST", "http://x/", data=fields, files=files)
    return request.headers["content-type"], request.read()


def test_texts_and_files_come_as_they_were_sent():
    content = b"\r\n--not a boundary\r\n\x00\xff--\r\n"
    form = uploaded_form(*sent({"csrf": "ä", "name": ""}, {"recipe": ("../../x.yaml", content), "roster": ("x", b"")}))
    assert form.fields == {"csrf": "ä", "name": ""}
    assert form.file("recipe") == content
    assert form.file("roster") is None
    assert form.file("missing") is None


@pytest.mark.parametrize("file", [b"", b'; filename="x"'])
def test_of_two_of_one_name_the_first_counts(file):
    kind, body = "multipart/form-data; boundary=b", b""
    for value in (b"first", b"second"):
        body += b'--b\r\nContent-Disposition: form-data; name="csrf"' + file + b"\r\n\r\n" + value + b"\r\n"
    form = uploaded_form(kind, body + b"--b--\r\n")
    assert (form.fields, form.files) == (({}, {"csrf": b"first"}) if file else ({"csrf": "first"}, {}))


HEAD = b'Content-Disposition: form-data; name="a"\r\n\r\n'
BAD = {
    "another kind": ("application/x-www-form-urlencoded", b"a=b"),
    "no boundary": ("multipart/form-data", b"--b--"),
    "an endless boundary": ("multipart/form-data; boundary=" + "b" * 71, b"--" + b"b" * 71 + b"--"),
    "nothing": ("multipart/form-data; boundary=b", b""),
    "cut short": ("multipart/form-data; boundary=b", b"--b\r\n" + HEAD + b"x"),
    "no end": ("multipart/form-data; boundary=b", b"--b\r\n" + HEAD + b"x\r\n--b\r\n"),
    "no head": ("multipart/form-data; boundary=b", b"--b\r\nx\r\n--b--\r\n"),
    "no name": ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    "an endless head": (
        "multipart/form-data; boundary=b",
        b"--b\r\nX: " + b"y" * 3000 + b"\r\n" + HEAD + b"x\r\n--b--\r\n",
    ),
    "too many parts": ("multipart/form-data; boundary=b", (b"--b\r\n" + HEAD + b"x\r\n") * 100 + b"--b--\r\n"),
    "a text without end": ("multipart/form-data; boundary=b", b"--b\r\n" + HEAD + b"x" * 70_000 + b"\r\n--b--\r\n"),
    "no UTF-8": ("multipart/form-data; boundary=b", b"--b\r\n" + HEAD + b"\xff\r\n--b--\r\n"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_such_form_is_refused(case):
    with pytest.raises(ValueError, match=r"."):
        uploaded_form(*BAD[case])
