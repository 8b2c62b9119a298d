"""Which turns are in work, so that only these count a death of their process.

What an older process has begun has no token here. It counts as in work until a newer process reclaims it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the token of the lease under which a turn is in work."""
    op.add_column("turn", sa.Column("working_token", sa.Integer, nullable=True))
