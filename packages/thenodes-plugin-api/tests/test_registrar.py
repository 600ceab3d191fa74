"""What the registrar takes, and how it refuses."""

from __future__ import annotations

from typing import cast

import pytest

from thenodes_plugin_api import (
    PLUGIN_ABI_VERSION,
    AbiVersionMismatch,
    MissingHandlerError,
    NullApiError,
    NullContextError,
    Plugin,
    PluginApiError,
    PluginRegistrarApi,
)


class Good(Plugin):
    abi = 1


class NoAbi(Plugin):
    pass


class TooNew(Plugin):
    abi = PLUGIN_ABI_VERSION + 1


class TooOld(Plugin):
    abi = 0


class Truth(Plugin):
    abi = True


def registrar() -> tuple[PluginRegistrarApi, list[Plugin]]:
    accepted: list[Plugin] = []
    return PluginRegistrarApi(accepted.append), accepted


def test_a_plugin_of_a_served_generation_is_accepted() -> None:
    api, accepted = registrar()
    plugin = Good()

    api.register_plugin(plugin)

    assert accepted == [plugin]


def test_the_registrar_says_the_hosts_generation() -> None:
    assert registrar()[0].abi_version == PLUGIN_ABI_VERSION


@pytest.mark.parametrize("kind", [NoAbi, TooNew, TooOld, Truth])
def test_a_generation_that_is_not_served_is_refused(kind: type[Plugin]) -> None:
    api, accepted = registrar()

    with pytest.raises(AbiVersionMismatch):
        api.register_plugin(kind())

    assert accepted == []


def test_a_mismatch_says_what_was_expected_and_what_was_received() -> None:
    api, _ = registrar()

    with pytest.raises(AbiVersionMismatch) as caught:
        api.register_plugin(TooNew())

    assert (caught.value.expected, caught.value.received) == ("1", 2)


def test_a_class_instead_of_an_instance_is_refused_and_named() -> None:
    api, _ = registrar()

    with pytest.raises(MissingHandlerError, match=r"Good \(a class\)"):
        api.register_plugin(cast("Plugin", Good))


def test_something_that_is_no_plugin_is_refused() -> None:
    api, _ = registrar()

    with pytest.raises(MissingHandlerError, match="NoneType"):
        api.register_plugin(cast("Plugin", None))


def test_registering_after_registration_is_over_is_refused() -> None:
    api, accepted = registrar()
    api.close()

    with pytest.raises(NullContextError):
        api.register_plugin(Good())

    assert accepted == []


def test_checking_something_that_is_no_registrar_raises() -> None:
    with pytest.raises(NullApiError, match="NoneType"):
        PluginRegistrarApi.check(None)


def test_checking_a_registrar_returns_it() -> None:
    api, _ = registrar()

    assert PluginRegistrarApi.check(api) is api


@pytest.mark.parametrize(
    "error", [NullApiError, AbiVersionMismatch, MissingHandlerError, NullContextError]
)
def test_every_refusal_is_a_plugin_api_error(error: type[Exception]) -> None:
    assert issubclass(error, PluginApiError)
