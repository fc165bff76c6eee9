from __future__ import annotations

import pytest
from pydantic import ValidationError

from sealora_common.records.audits import RocSummary


def test_a_figure_of_another_kind_is_refused() -> None:
    roc = RocSummary(
        auc=0.5,
        auc_interval=(0.4, 0.6),
        true_positive_rate=None,
        true_positive_interval=None,
        members=2,
        non_members=2,
        curve=((0.0, 0.0), (1.0, 1.0)),
    )
    assert RocSummary.model_validate_json(roc.model_dump_json()) == roc
    with pytest.raises(ValidationError):
        RocSummary.model_validate({**roc.model_dump(), "auc": "0.5"})
