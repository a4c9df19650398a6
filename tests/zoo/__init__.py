"""The test models: `ZOO` written here, `PUBLIC` from `transformers`."""

from tests.zoo.case import Case
from tests.zoo.public import PUBLIC
from tests.zoo.table import ZOO

__all__ = ["PUBLIC", "ZOO", "Case"]
