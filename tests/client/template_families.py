"""Chat templates in the forms of the families that people use, written here, each with what is to come of it.

Not the families' own texts: each does what its family's does with roles, system prompts, ends, dates and reasoning.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_LIST = "leaves out prompts"
CLOCK = "reads the clock"
OPENED = "opens a block of reasoning"
OTHERWISE = "asks for a response with another text"
ENDS = "does not end an earlier response"
LAST = "writes an earlier response otherwise"
TURNS = "leaves out turns of a conversation"


@dataclass(frozen=True)
class Family:
    """A template, and what is to be said of it.

    Attributes:
        template: Jinja's source.
        marks: the control tokens that it writes.
        end: the one that ends a turn.
        fault: how the sentence begins that refuses it; None if it is right.
        all_turns: likewise for conversations of which all responses are learned.
        last_turn: likewise for those of which the last one is.
    """

    template: str
    marks: tuple[str, ...]
    end: str
    fault: str | None = None
    all_turns: str | None = None
    last_turn: str | None = None


def _turns(turn: str, ask: str, before: str = "", after: str = "") -> str:
    """`turn` for each message m, then `ask` where a response is asked for."""
    asked = "{% if add_generation_prompt %}" + ask + "{% endif %}" if ask else ""
    return f"{before}{{% for m in messages %}}{turn}{{% endfor %}}{asked}{after}"


_IM = ("<|im_start|>", "<|im_end|>")
_CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_ASK = "<|im_start|>assistant\n"
_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
_DEFAULT_SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
_LLAMA_3 = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content%s }}<|eot_id|>"
_LLAMA_3_ASK = "<|start_header_id|>assistant<|end_header_id|>\n\n"
_LLAMA_3_MARKS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_INST = (
    "{%% if m.role == 'user' %%}[INST] {{ m.content%s }} [/INST]{%% elif m.role == 'assistant' %%} {{ m.content%s }}"
    "</s>"
    "{%% else %%}{{ raise_exception('roles') }}{%% endif %%}"
)
_LLAMA_2 = (
    "{%% if messages[0].role == 'system' %%}{%% set first = '<<SYS>>\n' ~ messages[0].content ~ '\n<</SYS>>\n\n' %%}"
    "{%% set messages = messages[1:] %%}{%% else %%}{%% set first = '' %%}{%% endif %%}{%% for m in messages %%}"
    "{%% if m.role == 'user' %%}<s>[INST] {{ (first if loop.first else '') ~ m.content%s }} [/INST]"
    "{%% else %%} {{ m.content%s }} </s>{%% endif %%}{%% endfor %%}"
)
_GEMMA = "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content%s }}<end_of_turn>\n"
_GEMMA_MARKS = ("<bos>", "<start_of_turn>", "<end_of_turn>")
_QWEN_3 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "<|im_start|>assistant\n{{ '<think>\n\n</think>\n\n' if loop.last }}{{ said }}<|im_end|>\n{% else %}"
    + _CHATML
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_DEEPSEEK = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "<|User|>{{ m.content }}{% else %}<|Assistant|>{{ m.content REST }}<|end_of_sentence|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|>OPEN{% endif %}"
)
_DEEPSEEK_MARKS = ("<|User|>", "<|Assistant|>", "<|end_of_sentence|>")
_PHI = "<|{{ m.role }}|>\n{{ m.content }}<|end|>\n"
_PHI_MARKS = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
_COMMAND = (
    "<|START_OF_TURN_TOKEN|>{{ {'user': '<|USER_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>', 'system': "
    "'<|SYSTEM_TOKEN|>'}[m.role] }}{{ m.content }}<|END_OF_TURN_TOKEN|>"
)
_COMMAND_MARKS = (
    "<|START_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
)
_HARMONY = (
    "{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last else '<|end|>' }}{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>"
    "{% endif %}"
)
_HARMONY_MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
_GRANITE = "<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n"
_GRANITE_MARKS = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
_PARTS = "{% for part in m.content if part.text is defined %}{{ part.text }}{% endfor %}"
_TEXT_OR_PARTS = "{% if m.content is string %}{{ m.content }}{% else %}" + _PARTS + "{% endif %}"

FAMILIES: dict[str, Family] = {
    "ChatML": Family(_turns(_CHATML, _ASK), _IM, "<|im_end|>"),
    "ChatML without a system role": Family(_turns(_CHATML, _ASK, _NO_SYSTEM), _IM, "<|im_end|>"),
    "ChatML without line ends": Family(
        _turns("<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>", "<|im_start|>assistant "), _IM, "<|im_end|>"
    ),
    "Qwen 2, a system prompt of its own": Family(_turns(_CHATML, _ASK, _DEFAULT_SYSTEM), _IM, "<|im_end|>"),
    "Qwen 2.5, tools": Family(
        _turns(_CHATML, _ASK, "{% if tools %}# Tools\n{{ tools | tojson }}{% endif %}" + _DEFAULT_SYSTEM),
        _IM,
        "<|im_end|>",
    ),
    "Qwen 3, reasoning taken out": Family(_QWEN_3, _IM, "<|im_end|>", None, LAST, None),
    "Qwen 3, thinking on": Family(
        _turns(_CHATML, "<|im_start|>assistant\n<think>\n"), _IM, "<|im_end|>", OPENED, OPENED, OPENED
    ),
    "Hermes, calls of tools": Family(
        _turns(
            "{% if m.role == 'tool' %}<tool_response>{{ m.content }}</tool_response>{% else %}"
            + _CHATML
            + "{% endif %}",
            _ASK,
        ),
        _IM,
        "<|im_end|>",
    ),
    "MPT, a long system prompt of its own": Family(
        _turns(_CHATML, _ASK, _DEFAULT_SYSTEM.replace("help", "answer at length, and say so")), _IM, "<|im_end|>"
    ),
    "Yi, from the second turn on": Family(
        _turns(_CHATML, _ASK, "{% if messages | length == 0 %}nothing{% endif %}"), _IM, "<|im_end|>"
    ),
    "SmolLM 3, the day": Family(
        _turns(_CHATML, _ASK, "Today: {{ strftime_now('%d %B %Y') }}\n"), _IM, "<|im_end|>", CLOCK, CLOCK, CLOCK
    ),
    "Llama 2": Family(_LLAMA_2 % ("", ""), ("<s>", "</s>"), "</s>"),
    "Llama 2, trimming": Family(_LLAMA_2 % (".strip()", ".strip()"), ("<s>", "</s>"), "</s>"),
    "Llama 3": Family(_turns(_LLAMA_3 % "", _LLAMA_3_ASK, "<|begin_of_text|>"), _LLAMA_3_MARKS, "<|eot_id|>"),
    "Llama 3, trimming": Family(
        _turns(_LLAMA_3 % " | trim", _LLAMA_3_ASK, "<|begin_of_text|>"), _LLAMA_3_MARKS, "<|eot_id|>"
    ),
    "Llama 3.1, the day": Family(
        _turns(
            _LLAMA_3 % "",
            _LLAMA_3_ASK,
            "<|begin_of_text|>{% set day = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}"
            "Today Date: {{ day }}\n\n",
        ),
        _LLAMA_3_MARKS,
        "<|eot_id|>",
        CLOCK,
        CLOCK,
        CLOCK,
    ),
    "Llama 3.1, one day for ever": Family(
        _turns(
            _LLAMA_3 % "",
            _LLAMA_3_ASK,
            "<|begin_of_text|>{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
            "Today Date: {{ date_string }}\n\n",
        ),
        _LLAMA_3_MARKS,
        "<|eot_id|>",
    ),
    "Llama 4": Family(
        _turns(
            "<|header_start|>{{ m.role }}<|header_end|>\n\n" + _TEXT_OR_PARTS + "<|eot|>",
            "<|header_start|>assistant<|header_end|>\n\n",
            "<|begin_of_text|>",
        ),
        ("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>"),
        "<|eot|>",
    ),
    "Mistral": Family(_turns(_INST % ("", ""), "", "<s>"), ("<s>", "</s>"), "</s>"),
    "Mistral, trimming": Family(_turns(_INST % (" | trim", " | trim"), "", "<s>"), ("<s>", "</s>"), "</s>"),
    "Mistral 3, the system prompt in the last turn": Family(
        "{% if messages[0].role == 'system' %}{% set first = messages[0].content ~ '\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}<s>{% for m in messages %}"
        "{% if m.role == 'user' %}[INST]{{ first if loop.index >= messages | length - 1 and loop.revindex <= 2 }}"
        "{{ m.content }}[/INST]{% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "</s>",
        None,
        OTHERWISE,
        None,
    ),
    "Mistral 7, a mark for the system": Family(
        _turns(
            "{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]{% elif m.role == 'user' %}"
            "[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}</s>{% endif %}",
            "",
            "<s>",
        ),
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        "</s>",
    ),
    "Magistral, reasoning opened": Family(
        _turns(_INST % ("", ""), "[THINK]", "<s>"), ("<s>", "</s>"), "</s>", OPENED, OPENED, OPENED
    ),
    "Gemma": Family(_turns(_GEMMA % "", "<start_of_turn>model\n", "<bos>" + _NO_SYSTEM), _GEMMA_MARKS, "<end_of_turn>"),
    "Gemma, trimming": Family(
        _turns(_GEMMA % " | trim", "<start_of_turn>model\n", "<bos>" + _NO_SYSTEM), _GEMMA_MARKS, "<end_of_turn>"
    ),
    "Gemma 3, the system prompt in the first turn": Family(
        "{% if messages[0].role == 'system' %}{% set first = messages[0].content ~ '\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}<bos>{% for m in messages %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ first if loop.first }}"
        + _TEXT_OR_PARTS
        + "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        _GEMMA_MARKS,
        "<end_of_turn>",
    ),
    "Phi 3": Family(_turns(_PHI, "<|assistant|>\n"), _PHI_MARKS, "<|end|>"),
    "Phi 3, no system role at all": Family(
        "{% for m in messages if m.role != 'system' %}" + _PHI + "{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        _PHI_MARKS,
        "<|end|>",
        "drops data.system_prompt",
        "drops data.system_prompt",
        "drops data.system_prompt",
    ),
    "Phi 3, the end of text at the end": Family(
        _turns(_PHI, "<|assistant|>\n", after="{% if not add_generation_prompt %}<|endoftext|>{% endif %}"),
        _PHI_MARKS,
        "<|endoftext|>",
        None,
        ENDS,
        None,
    ),
    "Phi 4": Family(
        _turns("<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>", "<|im_start|>assistant<|im_sep|>"),
        (*_IM, "<|im_sep|>"),
        "<|im_end|>",
    ),
    "DeepSeek 3": Family(_DEEPSEEK.replace(" REST", "").replace("OPEN", ""), _DEEPSEEK_MARKS, "<|end_of_sentence|>"),
    "DeepSeek R1, reasoning cut and opened": Family(
        _DEEPSEEK.replace(" REST", ".split('</think>')[-1]").replace("OPEN", "<think>\n"),
        _DEEPSEEK_MARKS,
        "<|end_of_sentence|>",
        OPENED,
        OPENED,
        OPENED,
    ),
    "DeepSeek 3.1, thinking closed": Family(
        _DEEPSEEK.replace("<|Assistant|>{{ m.content REST }}", "<|Assistant|></think>{{ m.content }}").replace(
            "OPEN", "</think>"
        ),
        _DEEPSEEK_MARKS,
        "<|end_of_sentence|>",
    ),
    "Zephyr": Family(
        _turns("<|{{ m.role }}|>\n{{ m.content }}</s>\n", "<|assistant|>\n"),
        ("<|user|>", "<|assistant|>", "<|system|>", "</s>"),
        "</s>",
    ),
    "Alpaca": Family(
        _turns(
            "{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n{% elif m.role == 'system' %}{{ m.content }}"
            "\n\n{% else %}### Response:\n{{ m.content }}</s>\n\n{% endif %}",
            "### Response:\n",
        ),
        ("</s>",),
        "</s>",
    ),
    "Vicuna": Family(
        _turns(
            "{% if m.role == 'system' %}{{ m.content }} {% elif m.role == 'user' %}USER: {{ m.content }} {% else %}"
            "ASSISTANT: {{ m.content }}</s>{% endif %}",
            "ASSISTANT:",
        ),
        ("</s>",),
        "</s>",
    ),
    "Falcon, no end": Family(
        _turns("{{ m.role | capitalize }}: {{ m.content }}\n\n", "Assistant:"), ("</s>",), "</s>", None, ENDS, None
    ),
    "OpenChat": Family(
        _turns(
            "{% if m.role == 'system' %}{{ m.content }}<|end_of_turn|>{% else %}GPT4 Correct "
            "{{ m.role | capitalize }}: {{ m.content }}<|end_of_turn|>{% endif %}",
            "GPT4 Correct Assistant:",
            "<s>",
        ),
        ("<s>", "<|end_of_turn|>"),
        "<|end_of_turn|>",
    ),
    "Command R": Family(
        _turns(_COMMAND, "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"), _COMMAND_MARKS, "<|END_OF_TURN_TOKEN|>"
    ),
    "ChatGLM 3, no end": Family(
        _turns("<|{{ m.role }}|>\n {{ m.content }}", "<|assistant|>", "[gMASK]sop"),
        ("<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "sop", "</s>"),
        "</s>",
        None,
        ENDS,
        None,
    ),
    "GLM 4": Family(
        _turns("<|{{ m.role }}|>\n{{ m.content }}", "<|assistant|>", "[gMASK]<sop>"),
        ("<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>", "<|endoftext|>"),
        "<|endoftext|>",
        None,
        ENDS,
        None,
    ),
    "InternLM 2": Family(_turns(_CHATML, _ASK, "<s>"), (*_IM, "<s>"), "<|im_end|>"),
    "Baichuan": Family(
        _turns(
            "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<reserved_106>{{ m.content }}"
            "{% else %}<reserved_107>{{ m.content }}</s>{% endif %}",
            "<reserved_107>",
        ),
        ("<reserved_106>", "<reserved_107>", "</s>"),
        "</s>",
    ),
    "Granite": Family(_turns(_GRANITE, "<|start_of_role|>assistant<|end_of_role|>"), _GRANITE_MARKS, "<|end_of_text|>"),
    "Granite 3, the day": Family(
        _turns(_GRANITE, "<|start_of_role|>assistant<|end_of_role|>", "Today is {{ strftime_now('%B %d, %Y') }}.\n"),
        _GRANITE_MARKS,
        "<|end_of_text|>",
        CLOCK,
        CLOCK,
        CLOCK,
    ),
    "OLMo 2": Family(
        _turns(
            "{% if m.role == 'assistant' %}<|assistant|>\n{{ m.content }}<|endoftext|>{{ '\n' if not loop.last }}"
            "{% else %}<|{{ m.role }}|>\n{{ m.content }}\n{% endif %}",
            "<|assistant|>\n",
            "<|endoftext|>",
        ),
        ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>"),
        "<|endoftext|>",
    ),
    "Solar": Family(
        _turns(
            "### {{ m.role | capitalize }}:\n{{ m.content }}{{ '</s>' if m.role == 'assistant' }}\n\n",
            "### Assistant:\n",
        ),
        ("</s>",),
        "</s>",
    ),
    "Nemotron": Family(
        _turns(
            "<extra_id_{{ 0 if m.role == 'system' else 1 }}>{{ m.role | capitalize }}\n{{ m.content }}"
            "{{ '</s>' if m.role == 'assistant' }}\n",
            "<extra_id_1>Assistant\n",
        ),
        ("<extra_id_0>", "<extra_id_1>", "</s>"),
        "</s>",
    ),
    "EXAONE": Family(
        _turns("[|{{ m.role }}|]{{ m.content }}{{ '[|endofturn|]' if m.role != 'user' }}\n", "[|assistant|]"),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
        "[|endofturn|]",
    ),
    "gpt-oss, another end for the last": Family(
        _turns(_HARMONY, "<|start|>assistant"), _HARMONY_MARKS, "<|return|>", None, ENDS, None
    ),
    "lists of parts alone": Family(
        _turns(_CHATML.replace("{{ m.content }}", _PARTS), _ASK), _IM, "<|im_end|>", NO_LIST, NO_LIST, NO_LIST
    ),
    "escaping": Family(_turns(_CHATML.replace("m.content", "m.content | e"), _ASK), _IM, "<|im_end|>"),
    "texts as JSON": Family(_turns(_CHATML.replace("m.content", "m.content | tojson"), _ASK), _IM, "<|im_end|>"),
    "asks always": Family(
        _turns(_CHATML, "", after=_ASK),
        _IM,
        "<|im_end|>",
        "goes on after the mark",
        "goes on after the mark",
        "goes on after the mark",
    ),
    "never asks": Family(_turns(_CHATML, ""), _IM, "<|im_end|>"),
    "the last turn alone": Family(
        "{% for m in messages[-2:] %}" + _CHATML + "{% endfor %}{% if add_generation_prompt %}" + _ASK + "{% endif %}",
        _IM,
        "<|im_end|>",
        OTHERWISE,
        OTHERWISE,
        OTHERWISE,
    ),
}
