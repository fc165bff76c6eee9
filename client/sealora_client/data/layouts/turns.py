"""Turns of a conversation as JSON has them: `role` and `content`, or ShareGPT's `from` and `value`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import absent
from sealora_client.data.record import Role, Turn
from sealora_common.errors import DataError

_KEYS = (("role", "content"), ("from", "value"))
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_UNREAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "train_detail")
"""Keys of a turn that elsewhere change what is shown or learned of it."""
_TOOLS = ("tools", "functions")
"""Fields of a record that elsewhere put tools into its prompt."""


def turns_in(row: Row, name: str, before: tuple[Turn, ...] = ()) -> tuple[Turn, ...]:
    """A conversation whose turns the field `name` of `row` lists: perhaps the system's, then the user's and the
    assistant's by turns, the user's first. A blank system turn is none. A single turn may stand without its list.

    The assistant's are learned, but for those with `weight: 0` or `train: false`.

    Args:
        row: has the field.
        name: the field's.
        before: turns that come before those listed, unless the list begins with them.

    Raises:
        DataError: it is no such list; the sentence begins with the row's place and names the turn.
    """
    value = row.fields[name]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        remedy = 'write [{"role": "user", "content": ...}, ...]'
        if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
            remedy = "if it is JSON in a text, name it in json_fields of a description of the data (docs/data.md)"
        raise DataError(f'{row.place}: the field "{name}" is not a list of turns: {remedy}')
    _require_no_tools(row)
    found = [_turn(row, name, number, entry) for number, entry in enumerate(value, 1)]
    listed = tuple(turn for turn in found if turn is not None)
    turns = listed if listed[: len(before)] == before else before + listed
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    if any(turn.role == "system" for turn in spoken):
        raise DataError(
            f'{row.place}: "{name}" has a turn of the system\'s that is not its first: join it to another turn'
        )
    if spoken and spoken[0].role == "assistant":
        raise DataError(
            f"{row.place}: \"{name}\" begins with the assistant's turn: drop it, or put the user's before it"
        )
    for one, other in pairwise(spoken):
        if one.role == other.role:
            raise DataError(f'{row.place}: "{name}" has two turns of the {one.role}\'s in a row: join them')
    return turns


def ending_in_a_response(row: Row, name: str, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns up to the last that is learned, which is the assistant's and follows the user's.

    Raises:
        DataError: there is none, or the user has the last word.
    """
    if turns and turns[-1].role != "assistant":
        raise DataError(f'{row.place}: "{name}" ends with no turn of the assistant\'s: drop what comes after its last')
    last = max((place for place, turn in enumerate(turns) if turn.learned), default=None)
    if last is None:
        raise DataError(
            f'{row.place}: "{name}" has no turn of the assistant\'s that is to be learned: give one a weight of 1, or '
            "drop the record"
        )
    return tuple(turns[: last + 1])


def prompt_in(row: Row, name: str) -> tuple[Turn, ...]:
    """What a prompt apart from its responses says: the turns that the field `name` lists, or its text as the user's.

    None where the field is absent or null.

    Raises:
        DataError: as for `turns_in`.
    """
    value = row.fields.get(name)
    if value is None:
        return ()
    if isinstance(value, list):
        return turns_in(row, name)
    return (Turn("user", row.text(name, absent("fields"))),)


def with_system(row: Row, name: str, earlier: Sequence[Turn]) -> tuple[Turn, ...]:
    """`earlier`, after the system's text in the field `name` if there is one and the turns have none.

    Raises:
        DataError: the field holds no text.
    """
    system = row.text_if_any(name)
    if system is None or any(turn.role == "system" for turn in earlier):
        return tuple(earlier)
    return (Turn("system", system), *earlier)


def conversation_in(row: Row, name: str, before: tuple[Turn, ...], *, prompt: str) -> tuple[Turn, ...]:
    """A whole conversation: `before`, and the response or the turns that the field `name` holds.

    Args:
        row: any.
        name: of the field.
        before: what the prompt's own field says; empty if the turns say it.
        prompt: the name of that field, for sentences.

    Raises:
        DataError: there is no prompt or no response in it, or as for `turns_in`.
    """
    if isinstance(row.fields.get(name), list | dict):
        turns = turns_in(row, name, before)
    else:
        turns = (*before, Turn("assistant", row.text(name, absent("fields")), learned=True))
    if not turns[:-1]:
        raise row.missing(prompt, absent("fields"))
    if turns[-2].role == turns[-1].role:
        raise DataError(f'{row.place}: "{prompt}" ends with no turn of the user\'s: drop the rest')
    return ending_in_a_response(row, name, turns)


def _turn(row: Row, name: str, number: int, value: object) -> Turn | None:
    what = f'turn {number} of "{name}"'
    keys = next((keys for keys in _KEYS if isinstance(value, dict) and set(keys) <= value.keys()), None)
    if keys is None or not isinstance(value, dict):
        raise DataError(f'{row.place}: {what} has no "role" and "content" (nor "from" and "value"): add them')
    unread = next((key for key in _UNREAD if value.get(key)), None)
    if unread is not None:
        raise DataError(
            f'{row.place}: {what} has "{unread}", which is not read: write what the model is to say into its text, or '
            "take it out"
        )
    said, content = value[keys[0]], _joined(value[keys[1]])
    if content is None and isinstance(value[keys[1]], list):
        raise DataError(
            f"{row.place}: {what} has a part that is no text (pictures and the like are not learned): take it out, or "
            "drop the record"
        )
    role = _ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        raise DataError(
            f"{row.place}: {what} has a role other than system, user and assistant (calls of tools and their results "
            "are not learned): rename it, or drop the record"
        )
    if role == "system" and (content is None or (isinstance(content, str) and not content.strip())):
        return None
    return Turn(role, row.checked_text(content, what), learned=_learned(row, what, role, value))


def _require_no_tools(row: Row) -> None:
    for name in _TOOLS:
        value = row.fields.get(name)
        if value and not (isinstance(value, str) and value.strip() in ("", "[]", "null")):
            raise DataError(
                f'{row.place}: the field "{name}" names tools, which the model is not shown (calls of tools are not '
                "learned): leave the field out, or drop the record"
            )


def _joined(content: object) -> object:
    """The text of a content that is a list of nothing but parts of text; any other content as it is."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        return None
    return "".join(map(str, texts))


def _learned(row: Row, what: str, role: Role, value: dict[str, object]) -> bool:
    given = [value[key] for key in ("weight", "train") if value.get(key) is not None]
    if any(weight not in (0, 1) for weight in given) or len(set(given)) > 1:
        raise DataError(f'{row.place}: {what} has a "weight" or "train" other than 0 and 1, true and false: write one')
    if role == "assistant":
        return not given or bool(given[0])
    if given and given[0]:
        raise DataError(f"{row.place}: {what} is to be learned, but is not the assistant's: give it a weight of 0")
    return False
