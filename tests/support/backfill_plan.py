"""What tests give to a plan of backfill: how long it waits for a history that lags, and a venue that may always be asked."""

PATIENCE = 60.0


def always(subject):
    """A venue that may be asked at any time."""
    return True
