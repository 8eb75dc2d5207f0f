"""The domain entries of every operation, one file per family as in minigrad/ops."""

from importlib import import_module
from pkgutil import iter_modules

from tests.domains.base import Case, Domain, Operand

FAMILIES = tuple(module.name for module in iter_modules(__path__) if module.name != "base")
DOMAINS: dict[str, Domain] = {
    name: domain for family in FAMILIES for name, domain in import_module(f"tests.domains.{family}").DOMAINS.items()
}

__all__ = ["DOMAINS", "Case", "Domain", "Operand"]
