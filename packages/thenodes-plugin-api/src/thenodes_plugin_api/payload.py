"""The application's data in a message."""

from __future__ import annotations

import enum
from typing import TypeVar, overload

import msgspec

from .errors import PayloadError

__all__ = ["Payload", "PayloadForm"]

T = TypeVar("T")


class PayloadForm(enum.IntEnum):
    """How a payload's bytes are to be read; the numbers are the wire's."""

    TEXT = 1
    JSON = 2
    BINARY = 3
    SEALED = 4
    FRAME = 5


class Payload(msgspec.Struct, frozen=True, gc=False):
    """Bytes and how to read them; decoded only when somebody asks.

    Attributes:
        form: how to read `data`.
        data: UTF-8 text, UTF-8 JSON, or bytes, by `form`.
    """

    form: PayloadForm
    data: bytes

    @classmethod
    def text(cls, value: str) -> Payload:
        """Make a text payload."""
        return cls(PayloadForm.TEXT, value.encode())

    @classmethod
    def json(cls, value: object) -> Payload:
        """Make a JSON payload of anything msgspec encodes.

        Raises:
            TypeError: `value` has no JSON form.
        """
        return cls(PayloadForm.JSON, msgspec.json.encode(value))

    @classmethod
    def binary(cls, value: bytes) -> Payload:
        """Make a payload of bytes."""
        return cls(PayloadForm.BINARY, value)

    def as_text(self) -> str:
        """Return the text.

        Raises:
            PayloadError: not a text payload, or not UTF-8.
        """
        try:
            return self._of(PayloadForm.TEXT).decode()
        except UnicodeDecodeError as error:
            raise PayloadError(f"text payload is not UTF-8: {error}") from error

    @overload
    def as_json(self) -> object: ...
    @overload
    def as_json(self, type: type[T]) -> T: ...
    def as_json(self, type: type[T] | None = None) -> T | object:
        """Decode the JSON, checked against `type` where one is given.

        Args:
            type: anything msgspec can decode into, such as a Struct.

        Raises:
            PayloadError: not a JSON payload, not JSON, or not of that type.
        """
        data = self._of(PayloadForm.JSON)
        try:
            return msgspec.json.decode(data, type=object if type is None else type)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise PayloadError(f"JSON payload cannot be used: {error}") from error

    def as_binary(self) -> bytes:
        """Return the bytes.

        Raises:
            PayloadError: not a binary payload.
        """
        return self._of(PayloadForm.BINARY)

    def _of(self, form: PayloadForm) -> bytes:
        if self.form is not form:
            raise PayloadError(
                f"expected a {form.name.lower()} payload, got {self.form.name.lower()}"
            )
        return self.data
