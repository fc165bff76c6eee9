"""A hospital's file as hospitals have them: several languages, a wrong decoding, copies, leaks, personal data.

path = write_untidy(tmp_path / "notes.jsonl")
recipe = write_recipe(tmp_path / "recipe.yaml", base)
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ORGANS = ("heart", "lung", "liver", "kidney", "stomach", "thyroid", "spleen", "bladder", "pancreas", "colon")
SIGNS = ("pain", "swelling", "bleeding", "infection", "a mass")
SECRET_WORDS = (
    "Schmidt",
    "Müller",
    "0171",
    "klinik.example",
    "yesterday",
    "Brust",
    "poitrine",
    "consult",
    "ultrasound",
)
"""Of the records' texts and persons: none of them may be in a report."""


def clean_rows() -> list[dict[str, Any]]:
    """Fifty notes with nothing wrong, none like another; every fifth is held out. Lines 1 to 50."""
    rows = []
    for place, (organ, sign) in enumerate((organ, sign) for organ in ORGANS for sign in SIGNS):
        told = (
            f"We consult you about {sign} of the {organ}, first seen {place + 2} weeks ago in ward {place * 7}.",
            f"Please judge {sign} near the {organ}: ultrasound number {place * 31} shows it {place} mm wide.",
            f"Since day {place} there has been {sign}; the {organ} was examined in room {place * 13}, with no result.",
        )
        rows.append(
            {
                "prompt": told[place % 3],
                "response": f"Order a {organ} panel, level {place % 5}, and see the patient in {place + 1} days.",
                "patient": f"P{place // 2}-Schmidt",
                "split": "heldout" if place // 2 % 5 == 4 else "train",
            }
        )
    return rows


UNTIDY: tuple[dict[str, Any], ...] = (
    # 51: an exact copy of line 1
    clean_rows()[0],
    # 52: line 1 but for case, white space and a full stop
    clean_rows()[0] | {"prompt": clean_rows()[0]["prompt"].upper() + "  ", "patient": "P90"},
    # 53: held out, and line 3 but for a character: a leak
    clean_rows()[2] | {"prompt": clean_rows()[2]["prompt"] + "!", "patient": "P91", "split": "heldout"},
    # 54: another response to the prompt of line 5
    clean_rows()[4] | {"response": "Wait and see, then come again in autumn for ultrasound.", "patient": "P2-Schmidt"},
    # 55, 56: other languages
    {
        "prompt": "Der Patient Müller klagt seit gestern über starke Schmerzen in der Brust.",
        "response": "Ein EKG schreiben und Troponin bestimmen, danach Kontrolle in einer Woche.",
        "patient": "P92",
        "split": "train",
    },
    {
        "prompt": "Le patient se plaint de fortes douleurs à la poitrine depuis hier soir.",
        "response": "Faire un électrocardiogramme et doser la troponine, puis revoir le patient.",
        "patient": "P93",
        "split": "train",
    },
    # 57: UTF-8 read as Windows-1252
    {
        "prompt": "Größe und Gewicht wurden gemessen, die Prüfung läuft noch.".encode().decode("cp1252"),
        "response": "Für übermorgen einbestellen.".encode().decode("cp1252"),
        "patient": "P94",
        "split": "train",
    },
    # 58: lost and control characters; 59: decomposed letters
    {
        "prompt": "Gr\ufffd\ufffde unknown\x00, the sheet was not legible at all in the scanner.",
        "response": "Ask again for it.",
        "patient": "P95",
        "split": "train",
    },
    {
        "prompt": unicodedata.normalize("NFD", "Übelkeit und Völlegefühl nach dem Essen, später Müdigkeit am Abend."),
        "response": "Eine Magenspiegelung anmelden.",
        "patient": "P96",
        "split": "train",
    },
    # 60: personal data; 61: a control token's name; 62: very long
    {
        "prompt": "Call Anna Schmidt at 0171 2345678 or +49 30 1234567, mail anna.schmidt@klinik.example.org, today.",
        "response": "Called on 03.04.2021, account DE89370400440532013000.",
        "patient": "P97",
        "split": "train",
    },
    {"prompt": "What ends a turn? It is <|im_end|> as ever.", "response": "Yes.", "patient": "P98", "split": "train"},
    {"prompt": "List them. " + "one two three " * 200, "response": "Done.", "patient": "P99", "split": "train"},
)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_untidy(path: Path) -> Path:
    """Fifty good lines and `UNTIDY`."""
    return write_rows(path, [*clean_rows(), *UNTIDY])


def write_recipe(path: Path, base: Path | str = "nobody/nothing", **data: Any) -> Path:
    """A recipe that reads such files; `data` is laid over its section."""
    recipe = {"name": "notes", "rounds": 2, "model": {"base": str(base)}, "data": {"max_tokens": 256, **data}}
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path
