"""Whether the Bob that is served on this machine lives, asked from outside: for containers and service managers."""

from __future__ import annotations

import http.client
import json

from core import Settings, allowed_hosts

SECONDS = 5.0  # for each step; who asks has a bound of its own for all of them
MOST_BYTES = 100_000
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where who listens everywhere is reached


def ask_for_life(settings: Settings) -> tuple[bool, str]:
    """Whether `/healthz` at HOST and PORT says that Bob lives, and a sentence about it.

    He lives while his database or his model does not answer: to start him anew would help neither.
    """
    host = _HERE.get(settings.host, settings.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    if not settings.port:
        return False, "PORT is 0, so nobody knows where Bob is served: set one."
    asking = http.client.HTTPConnection(host, settings.port, timeout=SECONDS)
    try:
        asking.request("GET", "/healthz", headers={"Host": _name(settings)})
        response = asking.getresponse()
        told = json.loads(response.read(MOST_BYTES))
        if response.status != 200 or told["status"] != "ok":
            raise ValueError
        return True, f"Bob lives at {address}; store: {told['store']}, model: {told['model']}."
    except OSError as error:
        return False, f"Bob does not answer at {address}: {(error.strerror or 'it took too long').lower()}."
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        return False, f"What answers at {address} is not Bob."
    finally:
        asking.close()


def _name(settings: Settings) -> str:
    """A name by which Bob may be reached."""
    names = allowed_hosts(settings)
    return "localhost" if "*" in names else names[0].replace("*", "healthy")
