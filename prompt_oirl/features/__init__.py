"""What models know of a query and of a prompt."""

from prompt_oirl.features.query_features import QueryFeatures

__all__ = ["QueryFeatures"]
