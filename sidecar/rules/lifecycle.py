"""The statuses of stored connectors and data sources, and what moves them: two tables, nothing else.

A row is (status, event) -> next status. What is not in a table is refused with ``wrong_status``. ``deprecated`` ends:
nothing leads out of it. An event that asks for what already holds changes nothing and is no error, so that it may be
sent again.

========== ==============================================================================
event      is sent by
========== ==============================================================================
configure  a new document: it is incomplete until everything fits together
complete   the document was checked with everything else that is configured
connect    an admin puts a connector in service; a test that was asked for went through
disconnect an admin takes a connector out of service
activate   an admin puts a data source in service
deactivate an admin takes a data source out of service
fail       a test that was asked for failed
deprecate  an admin retires it for good; its name stays taken until it is deleted
========== ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.errors import Refused

Table = Mapping[tuple[str, str], str]

REGISTERED, CONFIGURING, READY, CONNECTED, DISCONNECTED, ERROR, DEPRECATED = (
    *("registered", "configuring", "ready", "connected", "disconnected", "error", "deprecated"),
)
PENDING, ACTIVE, INACTIVE = "pending", "active", "inactive"
CONNECTOR_STATUSES: Final = (REGISTERED, CONFIGURING, READY, CONNECTED, DISCONNECTED, ERROR, DEPRECATED)
SOURCE_STATUSES: Final = (PENDING, CONFIGURING, ACTIVE, INACTIVE, ERROR, DEPRECATED)

CONFIGURE, COMPLETE, CONNECT, DISCONNECT, ACTIVATE, DEACTIVATE, FAIL, DEPRECATE = (
    *("configure", "complete", "connect", "disconnect", "activate", "deactivate", "fail", "deprecate"),
)
CONNECTOR_EVENTS: Final = (CONFIGURE, COMPLETE, CONNECT, DISCONNECT, FAIL, DEPRECATE)
SOURCE_EVENTS: Final = (CONFIGURE, COMPLETE, ACTIVATE, DEACTIVATE, FAIL, DEPRECATE)

CONNECTOR: Final[Table] = {
    (REGISTERED, CONFIGURE): CONFIGURING,
    (REGISTERED, DEPRECATE): DEPRECATED,
    (CONFIGURING, CONFIGURE): CONFIGURING,
    (CONFIGURING, COMPLETE): READY,
    (CONFIGURING, DEPRECATE): DEPRECATED,
    (READY, CONFIGURE): CONFIGURING,
    (READY, CONNECT): CONNECTED,
    (READY, DISCONNECT): DISCONNECTED,
    (READY, FAIL): ERROR,
    (READY, DEPRECATE): DEPRECATED,
    (CONNECTED, CONFIGURE): CONFIGURING,
    (CONNECTED, CONNECT): CONNECTED,
    (CONNECTED, DISCONNECT): DISCONNECTED,
    (CONNECTED, FAIL): ERROR,
    (CONNECTED, DEPRECATE): DEPRECATED,
    (DISCONNECTED, CONFIGURE): CONFIGURING,
    (DISCONNECTED, CONNECT): CONNECTED,
    (DISCONNECTED, DISCONNECT): DISCONNECTED,
    (DISCONNECTED, DEPRECATE): DEPRECATED,
    (ERROR, CONFIGURE): CONFIGURING,
    (ERROR, CONNECT): CONNECTED,
    (ERROR, DISCONNECT): DISCONNECTED,
    (ERROR, FAIL): ERROR,
    (ERROR, DEPRECATE): DEPRECATED,
}

SOURCE: Final[Table] = {
    (PENDING, CONFIGURE): CONFIGURING,
    (PENDING, DEPRECATE): DEPRECATED,
    (CONFIGURING, CONFIGURE): CONFIGURING,
    (CONFIGURING, COMPLETE): ACTIVE,
    (CONFIGURING, DEPRECATE): DEPRECATED,
    (ACTIVE, CONFIGURE): CONFIGURING,
    (ACTIVE, ACTIVATE): ACTIVE,
    (ACTIVE, DEACTIVATE): INACTIVE,
    (ACTIVE, FAIL): ERROR,
    (ACTIVE, DEPRECATE): DEPRECATED,
    (INACTIVE, CONFIGURE): CONFIGURING,
    (INACTIVE, ACTIVATE): ACTIVE,
    (INACTIVE, DEACTIVATE): INACTIVE,
    (INACTIVE, DEPRECATE): DEPRECATED,
    (ERROR, CONFIGURE): CONFIGURING,
    (ERROR, ACTIVATE): ACTIVE,
    (ERROR, DEACTIVATE): INACTIVE,
    (ERROR, FAIL): ERROR,
    (ERROR, DEPRECATE): DEPRECATED,
}

# Only these take calls. One in error does: its circuit decides, and a call that goes through heals it.
IN_SERVICE: Final = frozenset({READY, CONNECTED, ERROR, ACTIVE})
# Their document was checked and can be compiled, whether it is in service or not.
COMPLETED: Final = IN_SERVICE | {DISCONNECTED, INACTIVE, DEPRECATED}


def after(table: Table, status: str, event: str) -> str:
    """The next status. Raises ``Refused("wrong_status")`` where the table has no such row."""
    following = table.get((status, event))
    if following is None:
        possible = sorted(name for at, name in table if at == status)
        hint = f"Possible now: {', '.join(possible)}." if possible else "Nothing leads out of it; delete it instead."
        raise Refused("wrong_status", f"What is {status} cannot {event}. {hint}")
    return following
