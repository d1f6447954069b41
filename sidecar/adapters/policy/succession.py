"""Which bundle may follow which (P03): an old one, signed as it is, must not come back by itself.

The order is the manifest's ``metadata.sequence``, a whole number that grows with every bundle (a build number, or the
seconds of its making). It stands in the manifest because the signature covers the manifest. The rules, in order:

1. What is active may be offered again at any time; nothing happens.
2. What an administrator rolled back from does not come back by itself; an administrator may activate it again while
   nothing newer was active.
3. Once a bundle with a sequence was active, only a higher one may follow; one without, a lower one, or another
   content under the same number is refused. Only a rollback that an administrator asks for goes back, to a bundle
   that is kept; the highest sequence that ever was active stays the mark.
4. While no bundle had a sequence, and no keys are configured, there is no order, and any may follow. With keys, every
   bundle needs one.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from sidecar.adapters.policy.library import About
from sidecar.errors import Misconfigured, Reason
from sidecar.model.activation import ACTIVATED, Activation


class Standing(Struct, frozen=True):
    """What a history comes to: the last activation, the highest sequence of any, and what was rolled back from."""

    active: Activation | None = None
    mark: int | None = None
    withdrawn: frozenset[str] = frozenset()

    def after(self, entry: Activation) -> Standing:
        """The standing once ``entry`` is part of the history."""
        if entry.outcome != ACTIVATED or entry.bundle is None:
            return self
        withdrawn = self.withdrawn
        if entry.rollback and self.active is not None and self.active.bundle is not None:
            withdrawn = withdrawn | {self.active.bundle}
        withdrawn = withdrawn - {entry.bundle}
        sequences = [number for number in (self.mark, entry.sequence) if number is not None]
        return Standing(entry, max(sequences, default=None), withdrawn)


def standing_of(history: Iterable[Activation]) -> Standing:
    """What all of a history comes to."""
    standing = Standing()
    for entry in history:
        standing = standing.after(entry)
    return standing


def check_order(standing: Standing, about: About, *, ordered: bool, asked: bool) -> None:
    """Raise ``Misconfigured`` where ``about`` may not follow. ``ordered``: keys are configured, so a sequence is
    required; ``asked``: an administrator asks for this one.
    """
    active, mark, sequence = standing.active, standing.mark, about.sequence
    if active is not None and about.bundle == active.bundle:
        return
    if about.bundle in standing.withdrawn:
        if not asked:
            message = "an administrator rolled back from this bundle; publish a newer one, or activate it by hand"
            raise refusal("withdrawn", message)
        if sequence == mark:
            return
    if sequence is None:
        if ordered or mark is not None:
            raise refusal(
                "no_sequence", "the manifest has no metadata.sequence, so nothing tells it from an old bundle"
            )
        return
    if mark is None or sequence > mark:
        return
    if sequence < mark:
        raise refusal(
            "older_bundle", f"its sequence {sequence} is below {mark}, which was active; to go back, use a rollback"
        )
    raise refusal("same_sequence", f"its sequence {sequence} is that of another bundle; every bundle needs its own")


def refusal(code: str, message: str) -> Misconfigured:
    """One reason why a bundle is refused."""
    return Misconfigured(f"the bundle is refused: {message}", [Reason(code, message)])
