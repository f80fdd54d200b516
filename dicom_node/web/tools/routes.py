"""All tools under one router, in the order of their menu."""

from typing import Final

from fastapi import APIRouter

from dicom_node.web.tools import audit_view, charts, configuration, echo, help, log_tail, models, rule_trial

TOOLS: Final = (rule_trial, echo, charts, models, audit_view, configuration, log_tail, help)
router = APIRouter()
for tool in TOOLS:
    router.include_router(tool.router)
