"""A ledger of 200 rounds does not make anybody wait for the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from shown_site import shown

from sealora_client.ledger import Ledger
from sealora_common.privacy.accounting import PrivacyEvent

from browser import wait_until
from budget_site import training_set, write_site
from ledger_runs import SITE

ROUNDS = 200
SMALL = PrivacyEvent(noise_multiplier=20.0, sample_rate=0.05, steps=1)
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@pytest.mark.slow
def test_the_first_paint_comes_within_a_second(tmp_path, visitor):
    site = write_site(tmp_path / "site")
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for number in range(1, ROUNDS + 1):
            made = ledger.charge(
                dataset=training_set(site),
                run="ab" * 16,
                round_number=number,
                event=SMALL,
                delta=1e-3,
                epsilon_limit=8.0,
            )
            ledger.mark_released(made.id)
    with shown(site) as page_of:
        page = page_of.open(visitor)
        painted = []
        for path in ("/", "/budget", "/left") * 3:
            page.goto(page_of.url + path)
            wait_until(page, "performance.getEntriesByName('first-contentful-paint').length > 0")
            painted.append(page.evaluate(PAINTED))
        print(f"first contentful paint: {sorted(round(each) for each in painted)} ms")
        assert sorted(painted)[len(painted) // 2] < 1000
        page.goto(f"{page_of.url}/budget")
        expect(page.locator("#budget-charges details summary")).to_have_text(f"{ROUNDS - 50} older charges")
        expect(page.locator("#budget-levels")).to_contain_text("spent", timeout=120_000)
