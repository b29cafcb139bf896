"""The exceptions of the AgentCore control API, as its service model has them."""

from __future__ import annotations

from collections.abc import Sequence


class ApiError(Exception):
    """An exception that the API answers with; ``code`` is its shape in the service model."""

    code = "InternalServerException"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> dict[str, object]:
        """The members of the exception's shape."""
        return {"message": self.message}


class InternalServerError(ApiError):
    """An unexpected failure of the service."""


class ValidationError(ApiError):
    """The request can't be accepted; ``fields`` are ``(name, message)``."""

    code = "ValidationException"
    status = 400

    def __init__(
        self, message: str, reason: str = "FieldValidationFailed", fields: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.fields = tuple(fields)

    def body(self) -> dict[str, object]:
        """The members of the exception's shape."""
        content: dict[str, object] = {"message": self.message, "reason": self.reason}
        if self.fields:
            content["fieldList"] = [{"name": name, "message": message} for name, message in self.fields]
        return content


class AccessDeniedError(ApiError):
    """The caller may not do this."""

    code = "AccessDeniedException"
    status = 403


class ResourceNotFoundError(ApiError):
    """There is no such gateway, target or resource."""

    code = "ResourceNotFoundException"
    status = 404


class ConflictError(ApiError):
    """The name is taken, or the resource is being changed."""

    code = "ConflictException"
    status = 409


class QuotaExceededError(ApiError):
    """A service quota is used up."""

    code = "ServiceQuotaExceededException"
    status = 402


class ThrottlingError(ApiError):
    """Too many requests."""

    code = "ThrottlingException"
    status = 429


BY_CODE: dict[str, type[ApiError]] = {
    error.code: error
    for error in (
        InternalServerError,
        ValidationError,
        AccessDeniedError,
        ResourceNotFoundError,
        ConflictError,
        QuotaExceededError,
        ThrottlingError,
    )
}
