"""Errors of logs, selectors and estimates: one sentence each, that says what is wrong and where."""

from __future__ import annotations

from search.errors import TreewardError


class BadLog(TreewardError):
    """A log, or a line of one, is malformed or cannot be used for what was asked."""


class NotIdentified(TreewardError):
    """The log cannot tell what was asked of it, e.g. a preference among prompts from one prompt."""


class NoSupport(TreewardError):
    """A policy chooses arms that the logging policy never did."""


class BadArtefact(TreewardError):
    """A saved selector is missing, incomplete, or of another version."""
