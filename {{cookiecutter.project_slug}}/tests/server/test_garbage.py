"""Garbage is not collected during the start, and is afterwards."""

import gc
from collections.abc import Callable
from typing import Any

import pytest


def test_collection_is_paused_and_goes_on_without_what_was_made(package: Callable[[str], Any]) -> None:
    try:
        with package("garbage").collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_collection_goes_on_after_an_error(package: Callable[[str], Any]) -> None:
    try:
        with pytest.raises(OSError), package("garbage").collection_paused():
            raise OSError
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_server_that_listens_collects_rarely(package: Callable[[str], Any]) -> None:
    before = gc.get_threshold()
    try:
        package("garbage").collect_rarely()
        assert gc.get_threshold() == (10_000, 20, 50)
        assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
