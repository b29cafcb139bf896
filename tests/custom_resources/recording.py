"""A pytest plugin that notes every AWS call: `python -m pytest -p tests.custom_resources.recording …`.

A line of the file named by RECORDED_CALLS is `{"test": …, "service": …, "operation": …, "params": {…}}`: the
test's node id, and botocore's names. The note is taken where botocore has a call's parameters, whatever
answers the call.
"""

from __future__ import annotations

import json
import os
from typing import Any

import botocore.session
import pytest

FILE = "RECORDED_CALLS"


def pytest_configure(config: pytest.Config) -> None:
    """Have every client that is made from now on note its calls."""
    path = os.environ[FILE]
    create_client = botocore.session.Session.create_client

    def recorded(session: Any, service: str, *arguments: Any, **options: Any) -> Any:
        client = create_client(session, service, *arguments, **options)

        def note(params: dict[str, Any], model: Any, **_: Any) -> None:
            test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
            line = {"test": test, "service": service, "operation": model.name, "params": params}
            with open(path, "a") as file:  # noqa: PTH123 - appends
                file.write(json.dumps(line, default=str) + "\n")

        client.meta.events.register("provide-client-params.*.*", note)
        return client

    setattr(botocore.session.Session, "create_client", recorded)  # noqa: B010 - mypy knows it as a method
