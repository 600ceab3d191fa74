"""TLS contexts of one node (design: wire.md, TLS and listening)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ..errors import CredentialError

__all__ = ["NodeTls"]


class NodeTls:
    """What a node serves and dials TLS with: version 1.3, and its own certificate.

    Args:
        certificate: PEM file, this node's certificate first.
        private_key: PEM file, its key.
        authorities: certificates of the CAs that are believed, in PEM, beside the
            system's when dialling.
        client_certificates: take only connections with a certificate of one of
            `authorities` (mtls).

    Raises:
        CredentialError: the files do not fit each other.
    """

    def __init__(
        self,
        certificate: Path,
        private_key: Path,
        authorities: Sequence[str],
        *,
        client_certificates: bool = False,
    ) -> None:
        self._files = (certificate, private_key)
        self._authorities = "\n".join(authorities)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.minimum_version = ssl.TLSVersion.TLSv1_3
        # Sessions last long and are not resumed.
        self.server.num_tickets = 0
        if client_certificates:
            self.server.verify_mode = ssl.CERT_REQUIRED
            self.server.load_verify_locations(cadata=self._authorities)
        self.unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.unverified.check_hostname = False
        self.unverified.verify_mode = ssl.CERT_NONE
        self.unverified.minimum_version = ssl.TLSVersion.TLSv1_3
        self.reload()

    @cached_property
    def verified(self) -> ssl.SSLContext:
        """Dials hosts that a CA vouches for; made when first used, for it reads many files."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self._authorities:
            context.load_verify_locations(cadata=self._authorities)
        self._load(context)
        return context

    def reload(self) -> None:
        """Read certificate and key again; connections that are open keep theirs.

        Raises:
            CredentialError: the files do not fit each other.
        """
        self._load(self.server)
        self._load(self.unverified)
        self.__dict__.pop("verified", None)

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, private_key = self._files
        try:
            context.load_cert_chain(certificate, private_key)
        except (OSError, ValueError) as error:
            raise CredentialError(
                f"{certificate} and {private_key} cannot be used for TLS: {error}"
            ) from error
