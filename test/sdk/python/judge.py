"""What the suites share: the situations, and what the simulated providers behind Penstock have seen.

The Go test beside this folder starts all of it. SIM_URL is the simulator, DIALECTS are those of the providers that the suite
has to reach. A situation with a provider of a dialect is the model "SITUATION-DIALECT".
"""

import functools
import json
import os
import pathlib
import time
import urllib.request
from datetime import datetime

SIM = os.environ["SIM_URL"]
DIALECTS = os.environ["DIALECTS"].split(",")
SITUATIONS = json.loads(pathlib.Path(__file__).parent.parent.joinpath("situations.json").read_text())

PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


def get(path):
    with urllib.request.urlopen(SIM + path, timeout=5) as answer:
        return json.load(answer)


def settled():
    """The providers' own bill, once they have noticed the end of every call."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        now = get("/_bill")
        if now["open"] == 0:
            return now
        time.sleep(0.02)
    raise AssertionError("a call at the provider does not end")


def calls(situation, dialect):
    """How many calls of a situation have reached the provider."""
    return sum(m["calls"] for name, m in settled()["models"].items() if name.startswith(f"{dialect}/{situation}-"))


def last_call():
    listed = settled()["calls"]
    return listed[-1]["seq"] if listed else 0


def cancelled_since(situation, dialect, seq):
    """When the provider noticed that the client of a call after number seq had left, in seconds since 1970."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for call in get("/_bill")["calls"]:
            if call["provider"] == dialect and call["model"].startswith(situation + "-") and call["seq"] > seq and "canceled_at" in call:
                # The provider writes nanoseconds; Python reads at most microseconds.
                text = call["canceled_at"].replace("Z", "+00:00")
                head, _, rest = text.partition(".")
                fraction, zone = (rest[: rest.find("+")], rest[rest.find("+"):]) if rest else ("0", "")
                return datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}{zone}" if rest else text).timestamp()
        time.sleep(0.05)
    raise AssertionError(f"the provider of {dialect} never saw that the client of {situation} left")


def sent():
    """The last request that reached a provider: its path, header and body."""
    return get("/_requests?n=1")["requests"][-1]


def everywhere(situation="chat", but=()):
    """Runs a test with the providers of all dialects that the suite has to reach: test(self, dialect, model)."""
    reached = [d for d in SITUATIONS[situation].get("dialects", DIALECTS) if d in DIALECTS and d not in but]

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for dialect in reached:
                with self.subTest(provider=dialect):
                    test(self, dialect, f"{situation}-{dialect}")

        return run

    return decorate


def troubles(client):
    """Runs a test with each situation that ends in an error for clients of a dialect, with all providers:
    test(self, situation, dialect, model, what is said of it, the error)."""

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for name, situation in SITUATIONS.items():
                if client in situation:
                    for dialect in DIALECTS:
                        with self.subTest(situation=name, provider=dialect):
                            test(self, name, dialect, f"{name}-{dialect}", situation, situation[client])

        return run

    return decorate
