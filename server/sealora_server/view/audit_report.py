"""An audit as one HTML page that needs nothing but itself, in the run report's style."""

from __future__ import annotations

from sealora_common.show import quantities
from sealora_common.show.pages import page_templates
from sealora_server.view.audit_charts import bounds_chart, roc_chart
from sealora_server.view.audit_summary import AuditSummary

_WRITERS = ("count_text", "time_text", "epsilon_text", "target_text")


def render_audit(summary: AuditSummary) -> str:
    """The page for an audit."""
    pages = page_templates("sealora_server.view")
    pages.globals.update({name: getattr(quantities, name) for name in _WRITERS})
    return pages.get_template("audit.html.j2").render(
        audit=summary, trial=summary.trial, charts_drawn=(bounds_chart(summary), roc_chart(summary))
    )
