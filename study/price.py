"""What the time of machines costs, given the price of a node per hour."""

from typing import NamedTuple


class Price(NamedTuple):
    """The price of the machines of a study."""

    per_hour: float | None  # of one node, in any currency; None if it is not known
    nodes: int = 1


def cost(seconds: float, price: Price) -> float:
    """Return what all nodes cost for this many seconds; 0 without a price."""
    return seconds / 3600 * price.nodes * (price.per_hour or 0.0)


def money(amount: float) -> str:
    """Return an amount without its currency: 1,234.50, or two digits if it is small."""
    return f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}"
