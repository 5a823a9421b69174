"""What every sink checks before it takes a picture."""

from __future__ import annotations

from livecomp.errors import ContractError
from livecomp.frame import Composite

__all__ = ["check_composite"]


def check_composite(composite: object, size_wh: tuple[int, int] | None) -> None:
    """Refuse anything but a composite of the expected size.

    Args:
        composite: What a sink was given.
        size_wh: The size it must have; None for any.

    Raises:
        ContractError: It is a raw frame, something else, or of another size.
    """
    if not isinstance(composite, Composite):
        raise ContractError(f"a sink takes a Composite and nothing else, received {type(composite).__name__}")
    if size_wh is not None and composite.size_wh != size_wh:
        raise ContractError(f"expected a composite of {size_wh} pixels, received {composite.size_wh}")
