"""`make bench`: figures, each against a baseline in the same run."""

from tests.bench import throughput, tokens

throughput.main()
tokens.main()
