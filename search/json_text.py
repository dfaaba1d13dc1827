"""JSON of files that users give."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is not JSON (``json.JSONDecodeError``), not text, or JSON that Python cannot
            read, for which ``json.loads`` has errors of several kinds.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError("too deep, or a number too long") from error
