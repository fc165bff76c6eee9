"""The one family of errors a person meets: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations


class SealoraError(Exception):
    """Base of every error Sealora raises on purpose. `str(error)` is one sentence fit for a person."""


class RecipeError(SealoraError):
    """A recipe is missing, malformed or asks for something impossible."""


class DataError(SealoraError):
    """A site's records cannot be used as they are."""


class ModelError(SealoraError):
    """A base model or adapter is missing, damaged or of the wrong kind."""


class BudgetError(SealoraError):
    """An order would spend more privacy than the ledger and the policy allow."""


class PolicyError(SealoraError):
    """An order lies outside what the site's policy allows."""


class StorageError(SealoraError):
    """A file could not be written or read (no space, no permission, damaged)."""


class FederationError(SealoraError):
    """A round could not be completed: sites missing, replies refused, deadline passed."""
