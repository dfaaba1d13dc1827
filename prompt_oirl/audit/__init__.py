"""Checks of a log before anything is learned from it: one file a check."""

from prompt_oirl.audit.finding import Finding, Severity
from prompt_oirl.audit.near_groups import merged_groups
from prompt_oirl.audit.report import AuditReport, SplitLeak
from prompt_oirl.audit.rerun_ceiling import RerunCeiling, rerun_ceiling
from prompt_oirl.audit.run import audit

__all__ = [
    "AuditReport",
    "Finding",
    "RerunCeiling",
    "Severity",
    "SplitLeak",
    "audit",
    "merged_groups",
    "rerun_ceiling",
]
