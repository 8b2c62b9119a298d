"""`make bench`: figures, each against a baseline in the same run."""

from tests.bench import slack, throughput, tokens

throughput.main()
tokens.main()
slack.main()
