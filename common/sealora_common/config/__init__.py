"""Reading what others wrote: files and messages in JSON or YAML, within bounds, with one sentence on what is wrong."""

from sealora_common.config.bounds import CONFIGURATION, LARGE, LINE, LONGEST_TENSORS, SMALL, Bounds
from sealora_common.config.checked import checked
from sealora_common.config.file import read_file, read_line, read_stream, too_large, why_not
from sealora_common.config.json_text import JsonValue, adapted_from_json, from_json, json_value
from sealora_common.config.name import NAME_PATTERN, Name
from sealora_common.config.yaml_edit import with_value
from sealora_common.config.yaml_text import YamlValue, load_yaml, yaml_value

__all__ = [
    "CONFIGURATION",
    "LARGE",
    "LINE",
    "LONGEST_TENSORS",
    "NAME_PATTERN",
    "SMALL",
    "Bounds",
    "JsonValue",
    "Name",
    "YamlValue",
    "adapted_from_json",
    "checked",
    "from_json",
    "json_value",
    "load_yaml",
    "read_file",
    "read_line",
    "read_stream",
    "too_large",
    "why_not",
    "with_value",
    "yaml_value",
]
