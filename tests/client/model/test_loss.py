from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from sealora_client.data.example import Example
from sealora_client.model import loss
from sealora_client.model.loss import collate, response_losses, sum_of_responses

KINDS = ["llama", "gpt2", "qwen2", "gemma"]
LENGTHS = [(3, 4), (12, 1), (5, 20), (1, 2), (30, 9)]  # tokens of prompt and response
EARLIER = [(), ((1, 4),), (), (), ((3, 9), (20, 21))]  # stretches of the prompt that are learned too


@pytest.fixture
def examples():
    generator = np.random.default_rng(0)
    return [
        Example(generator.integers(3, 300, prompt + response).astype(np.int32), prompt_length=prompt, earlier=earlier)
        for (prompt, response), earlier in zip(LENGTHS, EARLIER, strict=True)
    ]


@pytest.fixture
def model(tiny_base, request):
    kind, attention = request.param
    loaded = AutoModelForCausalLM.from_pretrained(tiny_base(kind), dtype=torch.float32, attn_implementation=attention)
    return loaded.eval()


every_model = pytest.mark.parametrize(
    "model", [(kind, attention) for kind in KINDS for attention in ("sdpa", "eager")], indirect=True, ids="-".join
)


def alone(model, example: Example) -> float:
    """The textbook computation: one example, no padding, all logits."""
    tokens = torch.from_numpy(example.tokens.astype("int64"))
    logits = model(input_ids=tokens[None]).logits[0, :-1]
    learned = torch.from_numpy(example.learned)[1:]
    return functional.cross_entropy(logits[learned], tokens[1:][learned], reduction="sum")


def right_padded(model, examples) -> torch.Tensor:
    length = max(len(example.tokens) for example in examples)
    tokens = torch.zeros((len(examples), length), dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = torch.from_numpy(example.tokens.astype("int64"))
        mask[row, : len(example.tokens)] = 1
    logits = model(input_ids=tokens, attention_mask=mask).logits
    return torch.stack(
        [
            functional.cross_entropy(
                logits[row, : len(example.tokens) - 1][example.learned[1:]],
                tokens[row, 1 : len(example.tokens)][example.learned[1:]],
                reduction="sum",
            )
            for row, example in enumerate(examples)
        ]
    )


@every_model
def test_a_batch_gives_each_example_the_loss_it_has_alone(model, examples):
    with torch.no_grad():
        nll_sum, token_count = response_losses(model, collate(examples, 0, "cpu"))
        expected = torch.stack([alone(model, example) for example in examples])
        padded = right_padded(model, examples)
    assert token_count.tolist() == [example.learned.sum() for example in examples]
    torch.testing.assert_close(nll_sum, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(nll_sum, padded, rtol=1e-5, atol=1e-5)


@every_model
def test_gradient_is_the_sum_of_the_examples_own(model, examples):
    parameters = list(model.parameters())
    ours = torch.autograd.grad(response_losses(model, collate(examples, 0, "cpu"))[0].sum(), parameters)
    own = torch.autograd.grad(sum(alone(model, example) for example in examples), parameters)
    for one, other in zip(ours, own, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@every_model
def test_the_token_used_for_padding_does_not_matter(model, examples):
    with torch.no_grad():
        losses = [response_losses(model, collate(examples, pad_id, "cpu"))[0] for pad_id in (0, 17)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", [("llama", "sdpa")], indirect=True)
def test_a_forward_without_the_two_options_gives_the_same(model, examples):
    class Plain(torch.nn.Module):
        def forward(self, input_ids, attention_mask, use_cache):
            return model(input_ids=input_ids, attention_mask=attention_mask, position_ids=batch.position_ids)

    batch = collate(examples, 0, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(response_losses(Plain(), batch)[0], response_losses(model, batch)[0])


@pytest.mark.parametrize("model", [("llama", "sdpa")], indirect=True)
def test_the_output_layer_runs_for_responses_only_and_for_a_fixed_number_of_positions_at_a_time(
    model, examples, monkeypatch
):
    shapes = []
    original = model.lm_head.forward
    monkeypatch.setattr(model.lm_head, "forward", lambda states: shapes.append(tuple(states.shape)) or original(states))
    monkeypatch.setattr(loss, "POSITIONS", 16)
    width = model.config.hidden_size
    for count in (5, 2, 0):  # 36, 5 and 0 tokens of response
        with torch.no_grad():
            response_losses(model, collate(examples[:count], 0, "cpu", rows=8))
    assert shapes == [(1, 16, width)] * (3 + 1 + 1)
    assert "forward" in model.lm_head.__dict__  # the one that was there


@pytest.mark.parametrize("model", [("llama", "sdpa")], indirect=True)
def test_rows_without_anything_to_predict_have_no_loss(model, examples):
    empty, unanswered = Example(np.array([], np.int32), 0), Example(np.array([5, 6], np.int32), 2)
    batch = collate([unanswered, examples[0], empty], 0, "cpu", rows=5)
    nll_sum, token_count = response_losses(model, batch)
    assert token_count.tolist() == [0, 4, 0, 0, 0]
    assert nll_sum[[0, 2, 3, 4]].tolist() == [0.0] * 4
    torch.testing.assert_close(nll_sum[1], alone(model, examples[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [("llama", "sdpa")], indirect=True)
def test_losses_do_not_depend_on_the_size_of_the_pieces(model, examples, monkeypatch):
    batch = collate(examples, 0, "cpu")
    whole = response_losses(model, batch)[0]
    monkeypatch.setattr(loss, "POSITIONS", 3)
    pieces = response_losses(model, collate(examples, 0, "cpu"))[0]
    torch.testing.assert_close(pieces, whole)
    head = model.get_input_embeddings().weight
    for one, other in zip(torch.autograd.grad(pieces.sum(), head), torch.autograd.grad(whole.sum(), head), strict=True):
        torch.testing.assert_close(one, other)


def test_collate_pads_on_the_left_and_counts_positions_from_the_first_token():
    short = Example(np.array([5, 6, 7], np.int32), prompt_length=2)
    long = Example(np.array([1, 2, 3, 4], np.int32), prompt_length=1)
    batch = collate([short, long], pad_id=9, device="cpu", rows=3, length=5)
    assert batch.tokens.tolist() == [[9, 9, 5, 6, 7], [9, 1, 2, 3, 4], [9] * 5]
    assert batch.attention_mask.tolist() == [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]]
    assert batch.position_ids.tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0] * 5]
    assert batch.predicting.tolist() == [3, 6, 7, 8]
    assert batch.targets.tolist() == [7, 2, 3, 4, *[-100] * (loss.POSITIONS - 4)]
    assert batch.token_count.tolist() == [1, 3, 0]


def test_what_fills_up_the_output_layer_belongs_to_no_row(examples):
    """Taken from a row, it could carry a gradient back that is no number, as often as the others predict little."""
    batch = collate(examples, 0, "cpu")
    states = torch.ones(*batch.tokens.shape, 3, requires_grad=True)
    picked = loss._pick(states, batch)
    assert len(picked) == len(batch.targets) > len(batch.predicting)
    assert not picked[len(batch.predicting) :].any()
    picked.sum().backward()
    touched = states.grad.flatten(0, 1).any(dim=1).nonzero()[:, 0]
    assert torch.equal(touched, batch.predicting)


@every_model
def test_any_value_of_a_response_s_tokens_is_summed_row_by_row(model, examples):
    def hits(logits, targets):
        return (logits.argmax(dim=1) == targets).float()

    with torch.no_grad():
        found = sum_of_responses(model, collate(examples, 0, "cpu", rows=len(examples) + 2), hits)
        for row, example in enumerate(examples):
            tokens = torch.from_numpy(example.tokens.astype("int64"))
            said = model(input_ids=tokens[None]).logits[0, :-1].argmax(dim=1)
            assert found[row] == (said == tokens[1:])[example.learned[1:]].sum()
    assert found[len(examples) :].tolist() == [0, 0]
