"""`make bench`: figures, each against a baseline in the same run. `python -m tests.bench discord` is one of them."""

import importlib
import sys

BENCHES = (
    "throughput", "tokens", "slack", "discord", "turns", "streams", "guesses", "start", "files", "import", "sessions",
    "metrics", "page",
)  # fmt: skip

for name in sys.argv[1:] or BENCHES:
    if name not in BENCHES:
        sys.exit(f"There is no {name!r} among {', '.join(BENCHES)}.")
    importlib.import_module(f"tests.bench.{name}").main()  # none sees the apps that another one adds to measure
