"""Work that other workers do parts of."""

from forebay_workers.sharing.owner import Parts, helped_by, in_parts, parts_of

__all__ = ["Parts", "helped_by", "in_parts", "parts_of"]
