"""Errors whose text is written for the person who reads the stack's events.

CloudFormation's event shows at most the last 240 characters of a long reason (crhelper 2.0.12 cuts the
front), so every message ends with its most useful part: the cause.
"""


class ResourceError(Exception):
    """A custom resource can't reach the asked state; the text is the reason CloudFormation shows."""


class PropertyError(ResourceError):
    """A property of the resource is missing or has a value that can't work."""


class DeadlineReached(ResourceError):  # noqa: N818 - reads as the state it names, like builtin StopIteration
    """The function's time ended before the awaited state came."""


class ResponseNotDelivered(RuntimeError):  # noqa: N818 - the state it names
    """CloudFormation couldn't be told the outcome; raised so that Lambda delivers the event again."""
