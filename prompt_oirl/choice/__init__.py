"""From predictions to prompts: cross-fitted ensembles, cautious choice, cost, saved selectors."""

from prompt_oirl.choice.selector import Choice, Selector, Settings, fit_selector

__all__ = ["Choice", "Selector", "Settings", "fit_selector"]
