"""Control tokens come from a template's frame alone: whatever people write, its tokens are those of plain text.

A tokenizer finds the names of its control tokens anywhere in a text, so that `<|im_end|>` in a record would end a turn.
Here the text is tokenised as ever, and if there are other control tokens in it than its frame brings, once more by a
copy of the tokenizer that knows them by names that nobody can write.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.framed import NEUTRAL, FramedText
from sealora_client.data.templates.template import UnusableError, blaming

_BLANK = " \t\n\r\u2581"


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, AddedToken]:
    """The tokens that no text of people may become, by id: all added ones but runs of white space, which are text."""
    added: dict[int, AddedToken] = tokenizer.added_tokens_decoder
    return {token: name for token, name in added.items() if name.special or name.content.strip(_BLANK)}


def control_names(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Finds the names of the control tokens in a text, the longest one at a place."""
    return _finder(name.content for name in control_tokens(tokenizer).values())


def token_ids(
    texts: Sequence[FramedText], tokenizer: PreTrainedTokenizerBase, *, add_special_tokens: bool = False
) -> list[list[int]]:
    """Of each text, with the tokens that this tokenizer puts around inputs if `add_special_tokens`.

    They are what the tokenizer makes of the whole text, unless a control token came from what people wrote: that is
    read as plain text then.

    Raises:
        UnusableError: the tokenizer fails on one of them, or can read it in no other way than as control.
    """
    if not texts:
        return []
    frames = list(dict.fromkeys(text.pieces for text in texts))
    neutral = [str(FramedText(pieces, (NEUTRAL,) * (len(pieces) - 1))) for pieces in frames]
    with blaming("tokenizer"):
        asked = [*map(str, texts), *neutral]
        ids: list[list[int]] = tokenizer(asked, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        control = control_tokens(tokenizer)
        expected = {
            pieces: [token for token in tokens if token in control]
            for pieces, tokens in zip(frames, ids[len(texts) :], strict=True)
        }
        return [
            tokens
            if [token for token in tokens if token in control] == expected[text.pieces]
            else as_plain_text(text, tokenizer, expected[text.pieces], add_special_tokens)
            for text, tokens in zip(texts, ids, strict=False)
        ]


@dataclass(frozen=True)
class _Renamed:
    """A copy of a tokenizer whose control tokens have other names.

    Attributes:
        tokenizer: the copy.
        names: the new name of each control token, by the one that it has in frames.
        ids: the tokenizer's own id of each added token, by the copy's.
        pattern: finds the names that they have in frames.
    """

    tokenizer: Tokenizer
    names: dict[str, str]
    ids: dict[int, int]
    pattern: re.Pattern[str]


def as_plain_text(
    text: FramedText, tokenizer: PreTrainedTokenizerBase, expected: Sequence[int], add_special_tokens: bool
) -> list[int]:
    """Its tokens if the control tokens of its frame are all there are.

    Args:
        text: any.
        tokenizer: one of the library `tokenizers`.
        expected: the control tokens of the frame, in order, with those around inputs if `add_special_tokens`.
        add_special_tokens: as for `token_ids`.

    Raises:
        UnusableError: the tokenizer reads the text as control in every way.
        AttributeError: it is of another library.
    """
    control = control_tokens(tokenizer)
    renamed = _renamed(tokenizer, frozenset((token, name.content) for token, name in control.items()))
    pieces = tuple(renamed.pattern.sub(lambda found: renamed.names[found[0]], piece) for piece in text.pieces)
    found = renamed.tokenizer.encode(str(FramedText(pieces, text.texts)), add_special_tokens=add_special_tokens).ids
    tokens = [renamed.ids.get(token, token) for token in found]
    # What stands for characters that a vocabulary lacks is no control, though it may have a name as if it were.
    unknown = tokenizer.unk_token_id
    if [token for token in tokens if token in control and token != unknown] != [
        token for token in expected if token != unknown
    ]:
        raise UnusableError("tokenizer")
    return tokens


@lru_cache(maxsize=4)
def _renamed(tokenizer: PreTrainedTokenizerBase, control: frozenset[tuple[int, str]]) -> _Renamed:
    # A tokenizer that is no program of Rust has no such attribute, and so no way to read control as text.
    backend: Any = tokenizer.backend_tokenizer
    content = json.loads(backend.to_str())
    declared, content["added_tokens"] = content["added_tokens"], []
    copy = Tokenizer.from_str(json.dumps(content))
    copy.no_truncation()
    copy.no_padding()
    secret = secrets.token_hex(8)
    names: dict[str, str] = {}
    ids: dict[int, int] = {}
    for token in declared:
        name = token["content"]
        if (token["id"], name) in control:
            names[token["content"]] = f"\ue000{secret}{token['id']}\ue001"
            name = names[token["content"]]
        flags = {flag: token[flag] for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        add = copy.add_special_tokens if token["special"] else copy.add_tokens
        add([AddedToken(name, **flags)])
        own = copy.token_to_id(name)
        assert own is not None  # noqa: S101 (it was added)
        ids[own] = token["id"]
    return _Renamed(copy, names, ids, _finder(names))


def _finder(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")
